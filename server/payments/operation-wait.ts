import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import type { Operation } from './operation.ts'
import { readJson } from './presentation.ts'
import { findPayment, type PaymentRow } from './queries.ts'

const firstPollMs = 30
const longestPollMs = 400
const marginMs = 1_000

/** Another call, perhaps in another process, runs this operation: its end, or the payment as it stands when time is up. */
export async function waitForOperation(
  context: Context,
  scope: TenantScope,
  paymentId: string,
  key: string,
): Promise<PaymentRow> {
  const deadline = performance.now() + context.config.providerTimeoutMs + marginMs
  let pollMs = firstPollMs
  for (;;) {
    const payment = await context.database.asTenant(scope, (db) => findPayment(db, scope.tenantId, paymentId))
    if (payment === undefined) throw notFound('payment', paymentId)
    const operation = readJson<Operation>(payment.operation)
    const isRunning = operation?.key === key && operation.state === 'running'
    if (!isRunning || performance.now() > deadline) return payment
    await sleep(pollMs)
    pollMs = Math.min(pollMs * 1.5, longestPollMs)
  }
}
