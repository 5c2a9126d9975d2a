import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { findTenantScope } from '#tenants'
import { wakeWork } from '#jobs'
import { openAccount } from './accounts.ts'
import { toRef } from './commands.ts'
import { traceOf } from './events.ts'
import { findMethodByReturnToken } from './methods/queries.ts'
import { completeMethodReturn } from './methods/finishing.ts'
import { waitForOperation } from './operation-wait.ts'
import type { Operation } from './operation.ts'
import { prepareOperation, type PreparedCall } from './operations.ts'
import { writeLog } from './payment-log.ts'
import { readJson } from './presentation.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { PaymentStatus, ReturnReading } from './providers/provider.ts'
import { findPaymentByReturnToken, lockPayment, type PaymentRow } from './queries.ts'
import { lookAtPayment, runOperation } from './recovery.ts'
import { savePayment } from './snapshots.ts'
import { isOpen, isWithoutMoney } from './status.ts'
import { findSubscriptionByReturnToken } from './subscriptions/queries.ts'
import { completeSubscriptionReturn } from './subscriptions/returns.ts'

/** Where a customer's browser is sent on to, and what it is told there. */
export interface Onward {
  /** The tenant's URL with ours appended; undefined when the tenant gave none. */
  url: string | undefined
  id: string
  status: string
}

/**
 * A customer came back from a provider's page. The token in the URL names one payment, method or subscription of
 * one tenant and nothing in the parameters is believed: the provider is asked.
 * @returns undefined for a token that is none of ours
 */
export async function completeReturn(
  context: Context,
  token: string,
  parameters: URLSearchParams,
): Promise<Onward | undefined> {
  const { system } = context.database
  const payment = await findPaymentByReturnToken(system, token)
  if (payment !== undefined) return completePayment(context, payment, parameters)
  const method = await findMethodByReturnToken(system, token)
  if (method !== undefined) {
    const ended = await completeMethodReturn(context, method, parameters)
    return onwardTo(method.return_url, 'method_id', ended.id, ended.status)
  }
  const subscription = await findSubscriptionByReturnToken(system, token)
  if (subscription === undefined) return undefined
  const ended = await completeSubscriptionReturn(context, subscription)
  return onwardTo(subscription.return_url, 'subscription_id', ended.id, ended.status)
}

async function completePayment(
  context: Context,
  payment: PaymentRow,
  parameters: URLSearchParams,
): Promise<Onward | undefined> {
  const tenant = await findTenantScope(context, payment.tenant_id, payment.trace_id)
  if (tenant === undefined) return undefined
  const scope = traceOf(tenant, payment)
  const ended = await followReturn(context, scope, payment, parameters)
  wakeWork('delivery')
  const mayHaveGivenUp = isOpen(ended.status) || isWithoutMoney(ended.status)
  const gaveUp = mayHaveGivenUp && (parameters.has('pipecore_canceled') || ended.status === 'canceled')
  const url = gaveUp ? (payment.cancel_url ?? payment.return_url) : payment.return_url
  return onwardTo(url, 'payment_id', ended.id, shownStatus(ended, gaveUp))
}

/** A customer who gave up may still find the page and pay: the payment itself stays open until it expires. */
function shownStatus({ status, failure }: PaymentRow, gaveUp: boolean): string {
  if (!gaveUp || status !== 'requires_action') return status
  return failure === null ? 'canceled' : 'failed'
}

const over: readonly PaymentStatus[] = ['confirmed', 'failed', 'canceled']

/** Whoever opens the link again is told how it ended, and nobody is asked any more. */
async function followReturn(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
  parameters: URLSearchParams,
): Promise<PaymentRow> {
  if (over.includes(payment.status)) return payment
  return follow(context, scope, payment, await readReturn(context, scope, payment, parameters))
}

async function readReturn(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
  parameters: URLSearchParams,
): Promise<ReturnReading> {
  return context.database.asTenant(scope, async (db) => {
    const provider = requirePaymentProvider(payment.provider)
    const reading = provider.readReturn?.(toRef(payment), parameters) ?? { next: 'read' as const }
    await writeLog(context, db, scope, {
      subject: payment.id,
      provider: payment.provider,
      action: 'customer_returned',
      note: describeReturn(reading, parameters),
    })
    return reading
  })
}

const plainName = /^[\w.-]{1,40}$/

/** Names only, and only plain ones: anybody can send anything. */
function describeReturn(reading: ReturnReading, parameters: URLSearchParams): string {
  const names = [...new Set(parameters.keys())].filter((name) => plainName.test(name)).slice(0, 20)
  const came = names.length === 0 ? 'without parameters' : `with ${names.join(', ')}`
  const next = {
    commit: 'The payment has to be confirmed now.',
    read: 'The provider is asked.',
    refuse: reading.next === 'refuse' ? `Not believed: ${reading.reason}` : '',
  }[reading.next]
  return `The customer came back ${came}. ${next}`
}

async function follow(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
  reading: ReturnReading,
): Promise<PaymentRow> {
  if (reading.next === 'refuse') return payment
  if (reading.next === 'commit') return commit(context, scope, payment)
  const seen = (await lookAtPayment(context, scope, payment.id, 'return')) ?? payment
  const { otherwise } = reading
  return otherwise === undefined ? seen : endUnlessPaid(context, scope, seen, otherwise)
}

/** One confirmation at a time: a second tab waits for the first one's end. */
async function commit(context: Context, scope: TenantScope, payment: PaymentRow): Promise<PaymentRow> {
  const begun = await context.database.asTenant(
    scope,
    async (db): Promise<{ call: PreparedCall } | { current: PaymentRow }> => {
      const current = (await lockPayment(db, scope.tenantId, payment.id)) ?? payment
      // Who paid at the last moment comes back after the janitor called it expired: the provider decides.
      const mayConfirm = current.status === 'requires_action' || current.status === 'expired'
      if (!mayConfirm || current.operation !== null) return { current }
      const account = await openAccount(context, db, scope, current)
      return { call: await prepareOperation(context, db, scope, current, account, { kind: 'commit' }) }
    },
  )
  if ('call' in begun) return (await runOperation(context, scope, begun.call)).payment
  const running = readJson<Operation>(begun.current.operation)
  return running === null ? begun.current : waitForOperation(context, scope, payment.id, running.key)
}

const failureOf = {
  canceled: { code: 'canceled_by_customer', providerCode: 'returned_canceled', retry: 'same' },
  expired: { code: 'timed_out', providerCode: 'returned_expired', retry: 'same' },
  failed: { code: 'processing_error', providerCode: 'returned_failed', retry: 'same' },
} as const

async function endUnlessPaid(
  context: Context,
  scope: TenantScope,
  payment: PaymentRow,
  status: 'canceled' | 'expired' | 'failed',
): Promise<PaymentRow> {
  return context.database.asTenant(scope, async (db) => {
    const current = (await lockPayment(db, scope.tenantId, payment.id)) ?? payment
    if (current.status !== 'requires_action' || current.operation !== null) return current
    const change = {
      status,
      failure: JSON.stringify(failureOf[status]),
      action: null,
      expires_at: null,
      ended_at: context.now(),
    }
    return savePayment(context, db, scope, current, { change, refunds: [], steps: [] })
  })
}

function onwardTo(to: string | null, name: string, id: string, status: string): Onward {
  if (to === null) return { url: undefined, id, status }
  const url = new URL(to)
  url.searchParams.set(name, id)
  url.searchParams.set('status', status)
  return { url: url.href, id, status }
}
