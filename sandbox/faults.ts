import { replyProxyHtml } from './http.ts'
import type { Reply } from './http.ts'
import type { Channel, ProviderId, World } from './world.ts'

/** Every fault by name, with what it does: also what the page and the control API show. */
export const faults = {
  rate_limited: 'HTTP 429 with Retry-After (or the provider’s own header); no effect',
  rate_limited_bare: 'HTTP 429 without any hint when to come back; no effect',
  server_error: 'HTTP 503 as HTML from a proxy; no effect',
  server_error_after: 'HTTP 502 as HTML, yet the message was taken and callbacks come',
  transient: 'HTTP 500 in the provider’s own error format; no effect',
  hang: 'Accepts the request and never answers; no effect',
  hang_after: 'Takes the message, never answers; callbacks come',
  reset: 'Cuts the connection before any effect',
  reset_after: 'Takes the message, then cuts the connection; callbacks come',
  slow: 'Answers normally, after `after_ms`',
  too_large: 'HTTP 413 as HTML from a proxy; no effect',
  unauthorized: 'Credentials refused, in the provider’s own words',
  quota: 'Daily quota used up: HTTP 429 that will not pass today',
  pair_limit: 'Too many messages to this recipient: Meta 131056 by HTTP, Twilio 63018 by callback',
  error: 'The provider’s error `code`, by HTTP',
  duplicate: 'Every callback twice, under the same ids',
  reordered: 'Callbacks in reverse order: the last state first',
  late: 'Callbacks several seconds late (`late_ms`)',
  before_answer: 'The first callback arrives before the HTTP answer',
  silent: 'The message lives its life, no callback ever comes',
  stuck: 'Sent, and never anything after it',
  read_without_delivered: 'Read follows sent directly, as Meta does when a message is read at once',
  failed: 'Failed by callback: 30003, 131026, a bounce, or the `code` given',
  opted_out: 'The recipient has opted out: 21610, 131050, or suppressed',
  window_closed: 'WhatsApp’s 24 hours are over: 131047 by HTTP, 63016 by callback',
  bounced: 'Hard bounce',
  bounced_soft: 'Soft bounce',
  bounced_late: 'Delivered, then a hard bounce',
  blocked: 'Refused by the receiving server: soft',
  dropped: 'The provider does not even try: suppressed address',
  delayed: 'Delayed first, delivered then',
  complained: 'Delivered, then reported as spam',
  unsubscribed: 'Delivered, then unsubscribed',
  opened: 'Delivered, then opened by a person',
  machine_opened: 'Delivered, then opened by a machine',
  clicked: 'Delivered, opened and a link clicked',
} as const

export type FaultName = keyof typeof faults

export type Fault = {
  name: FaultName
  afterMs: number
  retryAfterSeconds: number
  code: number | null
}

export type FaultRule = {
  id: string
  provider: ProviderId
  match: { to?: string; from?: string; channel?: Channel; reference?: string }
  fault: FaultName
  /** Plays left; null is without end. */
  times: number | null
  after_ms: number
  retry_after: number
  code: number | null
  /** Which calls it plays on. */
  on: 'send' | 'lookup'
}

type MagicRecipient = { recipient: string; fault: FaultName; channels: readonly Channel[] }

/** `+56 9 8888 TNNN`: NNN is the fault, T how many times per message it plays (0: always). */
const MAGIC_PHONE = /^\+?5698888(\d)(\d{3})$/
const PHONE: readonly Channel[] = ['sms', 'whatsapp']
const WHATSAPP: readonly Channel[] = ['whatsapp']
const EMAIL: readonly Channel[] = ['email']

const magicPhones: ReadonlyArray<[FaultName, readonly Channel[]]> = [
  ['rate_limited', PHONE],
  ['rate_limited_bare', PHONE],
  ['server_error', PHONE],
  ['hang', PHONE],
  ['reset', PHONE],
  ['reset_after', PHONE],
  ['hang_after', PHONE],
  ['duplicate', PHONE],
  ['reordered', PHONE],
  ['late', PHONE],
  ['failed', PHONE],
  ['opted_out', PHONE],
  ['window_closed', WHATSAPP],
  ['before_answer', PHONE],
  ['read_without_delivered', WHATSAPP],
  ['server_error_after', PHONE],
  ['silent', PHONE],
  ['stuck', PHONE],
  ['transient', PHONE],
  ['pair_limit', WHATSAPP],
  ['unauthorized', PHONE],
]

const magicLocalParts: Record<string, FaultName> = {
  bounce: 'bounced',
  'bounce-soft': 'bounced_soft',
  'bounce-late': 'bounced_late',
  blocked: 'blocked',
  dropped: 'dropped',
  suppressed: 'opted_out',
  complaint: 'complained',
  unsubscribe: 'unsubscribed',
  delayed: 'delayed',
  failed: 'failed',
  open: 'opened',
  'machine-open': 'machine_opened',
  click: 'clicked',
  quota: 'quota',
  '429': 'rate_limited',
  '429-bare': 'rate_limited_bare',
  '500': 'server_error',
  '500-after': 'server_error_after',
  transient: 'transient',
  '401': 'unauthorized',
  '413': 'too_large',
  hang: 'hang',
  'hang-after': 'hang_after',
  'reset-before': 'reset',
  'reset-after': 'reset_after',
  duplicate: 'duplicate',
  reordered: 'reordered',
  late: 'late',
  'before-answer': 'before_answer',
  silent: 'silent',
  stuck: 'stuck',
}

/** Every recipient that plays a fault by itself, for the page and for tests. */
export const magicRecipients: readonly MagicRecipient[] = [
  ...magicPhones.map(([fault, channels], index) => ({
    recipient: `+5698888${String(index + 1).padStart(4, '0')}`,
    fault,
    channels,
  })),
  ...Object.entries(magicLocalParts).map(([local, fault]) => ({
    recipient: `${local}@…`,
    fault,
    channels: EMAIL,
  })),
]

type Occasion = {
  provider: ProviderId
  channel: Channel
  to: string
  from: string
  reference: string | null
  on?: FaultRule['on']
}

/** The fault to play on this call: a rule set through the control API, else the recipient's own. */
export function pickFault(world: World, occasion: Occasion): Fault | null {
  return pickRule(world, occasion) ?? (occasion.on === 'lookup' ? null : pickMagic(world, occasion))
}

/** The fault set for a provider's calls that send nothing (look-ups, checks, set-up). */
export function pickLookupFault(world: World, provider: ProviderId): Fault | null {
  return pickRule(world, { provider, channel: 'email', to: '', from: '', reference: null, on: 'lookup' })
}

function pickRule(world: World, occasion: Occasion): Fault | null {
  const rule = world.faults.find((candidate) => matchesRule(candidate, occasion))
  if (!rule) return null
  if (rule.times !== null) {
    rule.times -= 1
    if (rule.times === 0) world.faults = world.faults.filter((candidate) => candidate !== rule)
  }
  return { name: rule.fault, afterMs: rule.after_ms, retryAfterSeconds: rule.retry_after, code: rule.code }
}

function matchesRule(rule: FaultRule, occasion: Occasion): boolean {
  const { match } = rule
  return (
    rule.provider === occasion.provider &&
    rule.on === (occasion.on ?? 'send') &&
    (match.to === undefined || sameAddress(match.to, occasion.to)) &&
    (match.from === undefined || sameAddress(match.from, occasion.from)) &&
    (match.channel === undefined || match.channel === occasion.channel) &&
    (match.reference === undefined || match.reference === occasion.reference)
  )
}

/** Whether two ways of writing an address mean the same one: `whatsapp:+56…`, `+56…`, `56…`. */
export function sameAddress(a: string, b: string): boolean {
  return normalizeAddress(a) === normalizeAddress(b)
}

function normalizeAddress(address: string): string {
  return address
    .toLowerCase()
    .replace(/^whatsapp:/, '')
    .replace(/^\+(?=\d)/, '')
    .trim()
}

function pickMagic(world: World, occasion: Occasion): Fault | null {
  const found = occasion.channel === 'email' ? findMagicEmail(occasion.to) : findMagicPhone(occasion)
  if (!found) return null
  if (found.times > 0) {
    const key = `${occasion.provider} ${occasion.to} ${occasion.reference ?? ''}`
    const played = world.faultsPlayed.get(key) ?? 0
    if (played >= found.times) return null
    world.faultsPlayed.set(key, played + 1)
  }
  return { name: found.fault, afterMs: 0, retryAfterSeconds: 1, code: null }
}

function findMagicPhone({ to, channel }: Occasion): { fault: FaultName; times: number } | null {
  const [, times, index] = MAGIC_PHONE.exec(normalizeAddress(to)) ?? []
  const [fault, channels] = magicPhones[Number(index) - 1] ?? []
  return fault && channels?.includes(channel) ? { fault, times: Number(times) } : null
}

function findMagicEmail(to: string): { fault: FaultName; times: number } | null {
  const [, local = '', times = '0'] = /^([^@+]+)(?:\+(\d+))?@/.exec(to.toLowerCase()) ?? []
  const fault = Object.hasOwn(magicLocalParts, local) ? magicLocalParts[local] : undefined
  return fault ? { fault, times: Number(times) } : null
}

/**
 * What the caller gets instead of any effect, or null when the send goes on. `refuse` gives the
 * provider's own body for the faults that have one.
 */
export async function playBefore(
  fault: Fault | null,
  refuse: (fault: Fault) => Reply | null,
): Promise<Reply | null> {
  if (!fault) return null
  if (fault.afterMs > 0) await new Promise((resolve) => setTimeout(resolve, fault.afterMs))
  if (fault.name === 'hang') return { status: 0, transport: 'hang' }
  if (fault.name === 'reset') return { status: 0, transport: 'reset' }
  if (fault.name === 'server_error') return replyProxyHtml(503, 'Service Temporarily Unavailable')
  if (fault.name === 'too_large') return replyProxyHtml(413, 'Request Entity Too Large')
  return refuse(fault)
}

/** What becomes of the answer of a send that had its effect. */
export function playAfter(fault: Fault | null, reply: Reply): Reply {
  if (fault?.name === 'hang_after') return { status: 0, transport: 'hang' }
  if (fault?.name === 'reset_after') return { status: 0, transport: 'reset' }
  if (fault?.name === 'server_error_after') return replyProxyHtml(502, 'Bad Gateway')
  return reply
}
