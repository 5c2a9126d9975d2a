import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { recallWebhook, recordFact, type StoredWebhook } from '#webhooks/inbound'
import { recordEvents } from '#webhooks/outbound'
import { type Account, accountAmong, openAccount, openOtherAccounts } from './accounts.ts'
import { traceOf } from './events.ts'
import { readNamed } from './joint-reads.ts'
import { toLogRow } from './payment-log.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { Notice, PaymentNotice } from './providers/provider.ts'
import { findPaymentBy, type PaymentRow } from './queries.ts'
import { lookAtOpened, type Occasion, type OpenPayment, openPayment, writeOccasion } from './recovery.ts'
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
  const { origin, notices, opened } = await openWebhook(context, scope, webhookId)
  let unmatched = 0
  for (const notice of notices) {
    const located = notice.about === 'resource' ? await locate(context, scope, origin, notice) : [notice]
    for (const one of located) {
      const known = opened.get(one)
      if ((await follow(context, scope, origin, one, known)) === 'unmatched') unmatched += 1
    }
  }
  if (unmatched > 0) await readLater(context, scope, webhookId, round)
}

interface OpenWebhook {
  origin: Origin
  notices: readonly Notice[]
  /** The payments of the notices that name one we know. */
  opened: ReadonlyMap<Notice, OpenPayment>
}

async function openWebhook(context: Context, scope: TenantScope, webhookId: string): Promise<OpenWebhook> {
  const { row, webhook } = await recallWebhook(context, scope, webhookId)
  const origin = { webhookId, provider: row.provider, connectionId: row.connection_id ?? '' }
  const all = requirePaymentProvider(row.provider).parse(webhook, row.received_at)
  const notices: Notice[] = []
  const opened = new Map<Notice, OpenPayment>()
  for (const notice of all.slice(0, mostNotices)) {
    const own = ownNotice(notice)
    const known = own && (await openNamed(context, scope, origin, own))
    if (own !== undefined && known !== undefined && (own === notice || isNoRenewal(known.payment))) {
      notices.push(own)
      opened.set(own, known)
    } else notices.push(notice)
  }
  return { origin, notices, opened }
}

/** Of what a subscription charged that has to hear first. */
function isNoRenewal(payment: PaymentRow): boolean {
  return payment.subscription_id === null
}

function ownNotice(notice: Notice): PaymentNotice | undefined {
  if (notice.about === 'payment') return notice
  return notice.about === 'resource' ? notice.own : undefined
}

async function openNamed(
  context: Context,
  scope: TenantScope,
  { provider }: Origin,
  notice: PaymentNotice,
): Promise<OpenPayment | undefined> {
  const named = await readNamed(context, scope, provider, notice)
  if (named === undefined) return undefined
  const { payment, connections = [] } = named
  const account = accountAmong(context, scope, payment, connections)
  if (account !== undefined) return { payment, account }
  return context.database.asTenant(scope, (db) => openPayment(context, db, scope, payment))
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

type ResourceNotice = Extract<Notice, { about: 'resource' }>

/**
 * Asks the account that a webhook was taken for, then the tenant's others: a hint may be about any of them.
 * @throws when the provider can't be asked now: the job comes back
 */
async function locate(
  context: Context,
  scope: TenantScope,
  { connectionId, provider }: Origin,
  notice: ResourceNotice,
): Promise<readonly Notice[]> {
  const own = await context.database.asTenant(scope, (db) =>
    openAccount(context, db, scope, { connection_id: connectionId, provider }),
  )
  const found = await locateAt(own, notice)
  if (found.length > 0) return found
  const others = await context.database.asTenant(scope, (db) => openOtherAccounts(context, db, scope, own))
  for (const other of others) {
    const elsewhere = await locateAt(other, notice)
    if (elsewhere.length > 0) return elsewhere
  }
  return []
}

async function locateAt({ provider, context }: Account, notice: ResourceNotice): Promise<readonly Notice[]> {
  const found = await provider.locate?.(notice, context)
  if (found === undefined) return []
  if (found.outcome === 'done') return found.notices
  if (found.outcome === 'refused' && found.error.retry === 'never') return []
  throw new Error(found.error.message)
}

/** Reads what a notice is about. */
async function follow(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: Notice,
  known: OpenPayment | undefined,
): Promise<'followed' | 'unmatched'> {
  if (notice.about === 'account') return tellAccount(context, scope, origin, notice)
  if (notice.about === 'resource') return 'followed'
  return notice.about === 'payment'
    ? followPayment(context, scope, origin, notice, known)
    : followSubscription(context, scope, origin, notice)
}

async function followPayment(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: PaymentNotice,
  known: OpenPayment | undefined,
): Promise<'followed' | 'unmatched'> {
  const opened = known ?? (await openNamed(context, scope, origin, notice))
  if (opened === undefined) return 'unmatched'
  const own = traceOf(scope, opened.payment)
  const occasion = toOccasion(context, own, origin, notice, opened.payment.id)
  const { providerPaymentId } = notice
  await lookAtOpened(context, own, opened, { look: 'webhook', providerPaymentId, occasion })
  return 'followed'
}

async function followSubscription(
  context: Context,
  scope: TenantScope,
  origin: Origin,
  notice: Extract<Notice, { about: 'subscription' }>,
): Promise<'followed' | 'unmatched'> {
  const subject = await context.database.asTenant(scope, (db) =>
    findSubscriptionBy(db, scope.tenantId, origin.provider, notice),
  )
  if (subject === undefined) return 'unmatched'
  const own = traceOf(scope, subject)
  const occasion = toOccasion(context, own, origin, notice, subject.id)
  await context.database.asTenant(own, (db) => writeOccasion(db, occasion))
  await lookAtSubscription(context, own, subject.id, 'webhook')
  return 'followed'
}

/** As of when it was read: before what is then seen at the provider. */
function toOccasion(
  context: Context,
  own: TenantScope,
  { provider, webhookId }: Origin,
  { key, topic }: Notice,
  subject: string,
): Occasion {
  const note = `The provider reported ${topic}.`
  return {
    fact: { tenantId: own.tenantId, provider, key, webhookId },
    log: toLogRow(context, own, { subject, provider, action: 'webhook_received', note, webhookId }),
  }
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
  wakeWork('delivery')
  return 'followed'
}
