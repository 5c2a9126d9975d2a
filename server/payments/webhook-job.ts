import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { loadWebhook, recordFact, type StoredWebhook } from '#webhooks/inbound'
import { recordEvents } from '#webhooks/outbound'
import { openAccount } from './accounts.ts'
import { traceOf } from './events.ts'
import { writeLog } from './payment-log.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { Notice } from './providers/provider.ts'
import { findPaymentBy } from './queries.ts'
import { lookAtPayment } from './recovery.ts'
import { findSubscriptionBy } from './subscriptions/queries.ts'
import { lookAtSubscription } from './subscriptions/look.ts'

/** Providers can be faster than their own answer to our call; what is still unknown after a minute is not ours. */
const laterMs = [3_000, 60_000]
/** Of one webhook: more is no webhook that a provider sends. */
export const mostNotices = 100

/** Reads one stored webhook: it says what to look at, and nothing in it is believed. */
export const readWebhook: JobDefinition<StoredWebhook> = {
  name: 'payments.read_webhook',
  payload: z.strictObject({ webhook_id: z.string() }),
  attempts: 60,
  timeoutSeconds: 120,
  run: async (context, { webhook_id: webhookId }, { scope }) => {
    if (scope !== undefined) await readNotices(context, scope, webhookId, 0)
  },
}

const LaterNotices = z.strictObject({ webhook_id: z.string(), round: z.number().int() })

/** Notices about payments that nobody knew yet. */
export const readWebhookLater: JobDefinition<z.infer<typeof LaterNotices>> = {
  name: 'payments.read_webhook_later',
  payload: LaterNotices,
  attempts: 60,
  timeoutSeconds: 120,
  run: async (context, { webhook_id: webhookId, round }, { scope }) => {
    if (scope !== undefined) await readNotices(context, scope, webhookId, round)
  },
}

interface Origin {
  webhookId: string
  provider: string
  connectionId: string
}

async function readNotices(
  context: Context,
  scope: TenantScope,
  webhookId: string,
  round: number,
): Promise<void> {
  const { row, webhook } = await context.database.asTenant(scope, (db) =>
    loadWebhook(context, db, scope, webhookId),
  )
  const origin = { webhookId, provider: row.provider, connectionId: row.connection_id ?? '' }
  const notices = requirePaymentProvider(row.provider).parse(webhook, row.received_at)
  let unmatched = 0
  for (const notice of notices.slice(0, mostNotices)) {
    const located = notice.about === 'resource' ? await locate(context, scope, origin, notice) : [notice]
    for (const one of located) {
      if ((await follow(context, scope, origin, one)) === 'unmatched') unmatched += 1
    }
  }
  wakeWork('delivery')
  if (unmatched > 0) await readLater(context, scope, webhookId, round)
}

async function readLater(
  context: Context,
  scope: TenantScope,
  webhookId: string,
  round: number,
): Promise<void> {
  const waitMs = laterMs[round]
  if (waitMs === undefined) return
  const now = context.now()
  await context.database.asTenant(scope, (db) =>
    enqueueJob(
      db,
      readWebhookLater,
      { webhook_id: webhookId, round: round + 1 },
      {
        scope,
        now,
        runAt: new Date(now.getTime() + waitMs),
        traceId: scope.traceId,
        key: `${webhookId} ${round}`,
      },
    ),
  )
}

/** @throws when the provider can't be asked now: the job comes back. */
async function locate(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: Extract<Notice, { about: 'resource' }>,
): Promise<readonly Notice[]> {
  const account = await context.database.asTenant(scope, (db) =>
    openAccount(context, db, scope, { connection_id: origin.connectionId, provider: origin.provider }),
  )
  const found = await account.provider.locate?.(notice, account.context)
  if (found === undefined) return []
  if (found.outcome === 'done') return found.notices
  if (found.outcome === 'refused' && found.error.retry === 'never') return []
  throw new Error(found.error.message)
}

/** Reads what a notice is about. A fact that was taken before is not read again. */
async function follow(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: Notice,
): Promise<'followed' | 'unmatched'> {
  if (notice.about === 'account') return tellAccount(context, scope, origin, notice)
  if (notice.about === 'resource') return 'followed'
  const subject = await context.database.asTenant(scope, (db) =>
    findSubject(db, scope, origin.provider, notice),
  )
  if (subject === undefined) return 'unmatched'
  const own = traceOf(scope, subject)
  const isNew = await context.database.asTenant(own, async (db) => {
    const fact = {
      tenantId: scope.tenantId,
      provider: origin.provider,
      key: notice.key,
      webhookId: origin.webhookId,
    }
    // A webhook that is read again after a crash is no second one.
    if (!(await recordFact(db, fact))) return false
    await writeLog(context, db, own, {
      subject: subject.id,
      provider: origin.provider,
      action: 'webhook_received',
      note: `The provider reported ${notice.topic}.`,
      webhookId: origin.webhookId,
    })
    return true
  })
  await (notice.about === 'payment'
    ? lookAtPayment(context, own, subject.id, 'webhook', notice.providerPaymentId)
    : lookAtSubscription(context, own, subject.id, 'webhook'))
  if (!isNew) context.log.debug({ webhook_id: origin.webhookId, topic: notice.topic }, 'repeated notice')
  return 'followed'
}

/** The payment or subscription that a notice names. */
export async function findSubject(
  db: Kysely<Tables>,
  scope: TenantScope,
  provider: string,
  notice: Extract<Notice, { about: 'payment' | 'subscription' }>,
): Promise<{ id: string; trace_id: string } | undefined> {
  return notice.about === 'payment'
    ? findPaymentBy(db, scope.tenantId, provider, notice)
    : findSubscriptionBy(db, scope.tenantId, provider, notice)
}

async function tellAccount(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: Extract<Notice, { about: 'account' }>,
): Promise<'followed'> {
  await context.database.asTenant(scope, async (db) => {
    const fact = {
      tenantId: scope.tenantId,
      provider: origin.provider,
      key: notice.key,
      webhookId: origin.webhookId,
    }
    if (!(await recordFact(db, fact))) return
    const data = {
      provider: origin.provider,
      channel: 'payments',
      subject: notice.topic,
      detail: notice.detail,
    }
    const event = { type: 'provider.reported', entity: origin.connectionId, occurredAt: context.now(), data }
    await recordEvents(db, scope, [event], context.now())
  })
  return 'followed'
}
