import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJobs, wakeWork } from '#jobs'
import { findProductsOf } from '#tenants'
import { endAbandonedMethod } from './methods/finishing.ts'
import { listPendingMethods } from './methods/queries.ts'
import { takeDuePayments } from './queries.ts'
import { lookAtPayment } from './recovery.ts'
import { lookAtSubscription } from './subscriptions/look.ts'
import { takeDueSubscriptions } from './subscriptions/queries.ts'

const batch = 500
/** By then a look that was taken has ended, or its process died and it is due again. */
const putOffMs = 3 * 60 * 1000
const nothing = z.strictObject({})

export const PaymentRef = z.strictObject({ payment_id: z.string() })

/** Reads one payment back from its provider. */
export const checkPayment: JobDefinition<z.infer<typeof PaymentRef>> = {
  name: 'payments.check_payment',
  payload: PaymentRef,
  attempts: 5,
  timeoutSeconds: 120,
  run: async (context, { payment_id: paymentId }, { scope }) => {
    if (scope !== undefined) await lookAtPayment(context, scope, paymentId, 'janitor')
  },
}

export const SubscriptionRef = z.strictObject({ subscription_id: z.string() })

/** Reads one subscription back, or charges its next period. */
export const checkSubscription: JobDefinition<z.infer<typeof SubscriptionRef>> = {
  name: 'payments.check_subscription',
  payload: SubscriptionRef,
  attempts: 5,
  timeoutSeconds: 120,
  run: async (context, { subscription_id: subscriptionId }, { scope }) => {
    if (scope !== undefined) await lookAtSubscription(context, scope, subscriptionId, 'janitor')
  },
}

/** Finds what is due for a look: calls without a known end, customers who never came back, periods to charge. */
export const sweep: JobDefinition<z.infer<typeof nothing>> = {
  name: 'payments.sweep',
  payload: nothing,
  attempts: 10,
  timeoutSeconds: 60,
  schedule: '*/5 * * * * *',
  run: async (context) => {
    while ((await sweepPayments(context)) === batch);
    while ((await sweepSubscriptions(context)) === batch);
  },
}

const abandonedMs = 60 * 60 * 1000
const hourMs = 60 * 60 * 1000

const MethodRef = z.strictObject({ method_id: z.string() })

/** Ends one method that nobody will finish any more. */
export const endMethod: JobDefinition<z.infer<typeof MethodRef>> = {
  name: 'payments.end_method',
  payload: MethodRef,
  attempts: 3,
  timeoutSeconds: 120,
  run: async (context, { method_id: id }, { scope }) => {
    if (scope !== undefined) await endAbandonedMethod(context, scope, id)
  },
}

/** Finds methods that nobody will finish any more: each its own job, so that none waits for one that can't be asked. */
export const endAbandoned: JobDefinition<z.infer<typeof nothing>> = {
  name: 'payments.end_abandoned_methods',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 120,
  schedule: '*/10 * * * *',
  run: async (context) => {
    let last: string | undefined
    do last = await sweepMethods(context, last)
    while (last !== undefined)
  },
}

/** @returns the last of those found, where there may be more after it */
async function sweepMethods(context: Context, after: string | undefined): Promise<string | undefined> {
  const now = context.now()
  const before = new Date(now.getTime() - abandonedMs)
  const pending = await listPendingMethods(context.database.system, { before, after, limit: batch })
  const hour = Math.floor(now.getTime() / hourMs)
  const jobs = (await withScopes(context, pending)).map(({ id, scope }) => ({
    payload: { method_id: id },
    scope,
    traceId: scope.traceId,
    key: `end_method/${id}/${hour}`,
  }))
  if (jobs.length > 0) await context.database.asSystem((db) => enqueueJobs(db, endMethod, jobs, now))
  wakeWork('job')
  return pending.length === batch ? pending.at(-1)?.id : undefined
}

async function sweepPayments(context: Context): Promise<number> {
  const now = context.now()
  const taken = await context.database.asSystem(async (db) => {
    const due = await takeDuePayments(db, now, new Date(now.getTime() + putOffMs), batch)
    const jobs = (await withScopes(context, due)).map(({ id, scope }) => ({
      payload: { payment_id: id },
      scope,
      traceId: scope.traceId,
    }))
    if (jobs.length > 0) await enqueueJobs(db, checkPayment, jobs, now)
    return due.length
  })
  if (taken > 0) wakeWork('job')
  return taken
}

async function sweepSubscriptions(context: Context): Promise<number> {
  const now = context.now()
  const taken = await context.database.asSystem(async (db) => {
    const due = await takeDueSubscriptions(db, now, new Date(now.getTime() + putOffMs), batch)
    const jobs = (await withScopes(context, due)).map(({ id, scope }) => ({
      payload: { subscription_id: id },
      scope,
      traceId: scope.traceId,
    }))
    if (jobs.length > 0) await enqueueJobs(db, checkSubscription, jobs, now)
    return due.length
  })
  if (taken > 0) wakeWork('job')
  return taken
}

async function withScopes(
  context: Context,
  due: ReadonlyArray<{ id: string; tenant_id: string; trace_id: string }>,
) {
  const products = await findProductsOf(
    context,
    due.map((row) => row.tenant_id),
  )
  return due.flatMap((row) => {
    const productId = products.get(row.tenant_id)
    if (productId === undefined) return []
    return [{ id: row.id, scope: { tenantId: row.tenant_id, productId, traceId: row.trace_id } }]
  })
}
