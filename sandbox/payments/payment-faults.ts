import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { replyProxyHtml } from '../http.ts'
import type { Reply } from '../http.ts'
import type { World } from '../world.ts'
import { paymentProviderIds } from './simulator.ts'
import type { PaymentProviderId } from './simulator.ts'

/** What can go wrong with a call to a payment provider, and with its webhooks. */
export const paymentFaults = {
  rate_limited: 'HTTP 429 in the provider’s own words with Retry-After; no effect',
  server_error: 'HTTP 502 as HTML from a proxy; no effect',
  server_error_after: 'HTTP 502 as HTML, yet it was carried out: the answer is lost after charging',
  transient: 'HTTP 500 in the provider’s own error format; no effect',
  hang: 'Accepts the request and never answers; no effect',
  hang_after: 'Carries it out, never answers',
  reset: 'Cuts the connection before any effect',
  reset_after: 'Carries it out, then cuts the connection',
  slow: 'Answers normally, after `after_ms`',
  unauthorized: 'Credentials refused, in the provider’s own words',
  odd_status: 'Carries it out and answers with a status nobody has heard of',
  webhook_duplicate: 'Webhooks of this call come twice, under the same ids',
  webhook_reordered: 'Webhooks of this call come in reverse order',
  webhook_late: 'Webhooks of this call come `late_ms` late',
  webhook_dropped: 'Webhooks of this call never come',
  webhook_early: 'The first webhook comes before the answer',
} as const

export type PaymentFaultName = keyof typeof paymentFaults

/** Which calls a rule plays on: those that act, by what they do, or those that read. */
export const paymentOperations = [
  'create',
  'checkout',
  'commit',
  'capture',
  'cancel',
  'refund',
  'method',
  'subscription',
  'read',
] as const
export type PaymentOperation = (typeof paymentOperations)[number]

export type PaymentFaultRule = {
  id: string
  provider: PaymentProviderId
  fault: PaymentFaultName
  /** Absent: every call that acts. */
  operation?: PaymentOperation | undefined
  /** PipeCore's payment id, or part of it. */
  reference?: string | undefined
  /** Plays left; null is without end. */
  times: number | null
  /** 0 to 1: how often it plays when it could. */
  chance: number
  after_ms: number
  retry_after: number
}

export type PaymentFault = { name: PaymentFaultName; afterMs: number; retryAfterSeconds: number }

const ruleSchema = z.strictObject({
  provider: z.enum(paymentProviderIds),
  fault: z.custom<PaymentFaultName>(
    (name) => typeof name === 'string' && Object.hasOwn(paymentFaults, name),
    {
      message: `must be one of ${Object.keys(paymentFaults).join(', ')}`,
    },
  ),
  operation: z.enum(paymentOperations).optional(),
  reference: z.string().optional(),
  times: z.number().int().min(1).nullable().default(null),
  chance: z.number().min(0).max(1).default(1),
  after_ms: z.number().min(0).max(600_000).default(0),
  retry_after: z.number().int().min(0).default(1),
})

export function addPaymentFault(world: World, input: unknown): PaymentFaultRule {
  const rule = { id: `fault_${randomBytes(6).toString('hex')}`, ...ruleSchema.parse(input) }
  world.paymentFaults.push(rule)
  return rule
}

type Occasion = { provider: PaymentProviderId; operation: PaymentOperation; reference?: string | null }

/** The fault to play on this call: the first rule that fits and whose chance comes up. */
export function pickPaymentFault(world: World, occasion: Occasion): PaymentFault | null {
  for (const rule of world.paymentFaults) {
    if (!fits(rule, occasion) || world.random() >= rule.chance) continue
    if (rule.times !== null) {
      rule.times -= 1
      if (rule.times === 0) world.paymentFaults = world.paymentFaults.filter((one) => one !== rule)
    }
    return { name: rule.fault, afterMs: rule.after_ms, retryAfterSeconds: rule.retry_after }
  }
  return null
}

function fits(rule: PaymentFaultRule, { provider, operation, reference }: Occasion): boolean {
  if (rule.provider !== provider) return false
  if (rule.operation === undefined ? operation === 'read' : rule.operation !== operation) return false
  return rule.reference === undefined || (reference ?? '').includes(rule.reference)
}

/** What the caller gets instead of any effect, or null when the call goes on. `refuse` gives the provider's own body. */
export async function playBeforeEffect(
  fault: PaymentFault | null,
  refuse: (fault: PaymentFault) => Reply | null,
): Promise<Reply | null> {
  if (!fault) return null
  if (fault.afterMs > 0) await new Promise((resolve) => setTimeout(resolve, fault.afterMs))
  if (fault.name === 'hang') return { status: 0, transport: 'hang' }
  if (fault.name === 'reset') return { status: 0, transport: 'reset' }
  if (fault.name === 'server_error') return replyProxyHtml(502, 'Bad Gateway')
  return refuse(fault)
}

/** What becomes of the answer of a call that had its effect. */
export function playAfterEffect(fault: PaymentFault | null, reply: Reply): Reply {
  if (fault?.name === 'hang_after') return { status: 0, transport: 'hang' }
  if (fault?.name === 'reset_after') return { status: 0, transport: 'reset' }
  if (fault?.name === 'server_error_after') return replyProxyHtml(502, 'Bad Gateway')
  return reply
}
