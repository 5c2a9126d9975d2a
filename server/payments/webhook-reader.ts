import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import {
  type FactRow,
  findFacts,
  type FollowedEvent,
  type ForeseenReport,
  type LoadedWebhook,
  type RecordedWebhook,
  type WebhookReader,
} from '#webhooks/inbound'
import { readFollowing } from '#webhooks/outbound'
import { requirePaymentProvider } from './provider-registry.ts'
import type { Notice } from './providers/provider.ts'
import { listSubjectsOfWebhook } from './queries.ts'
import { findSubject, mostNotices, readWebhook } from './webhook-job.ts'

const dayMs = 24 * 60 * 60 * 1000

export const webhookReader: WebhookReader = {
  capabilities: ['payments'],
  job: readWebhook,
  findProvider: requirePaymentProvider,
  foresee,
  followed,
}

/** A notice only names what will be read: which events follow is known once the provider was asked. */
async function foresee(
  context: Context,
  scope: TenantScope,
  { row, webhook }: LoadedWebhook,
): Promise<ForeseenReport[]> {
  const provider = requirePaymentProvider(row.provider)
  const notices = provider.parse(webhook, row.received_at).slice(0, mostNotices)
  const day = { since: row.received_at, until: new Date(row.received_at.getTime() + dayMs) }
  return context.database.readAsTenant(scope, async (db) => {
    const readBefore = await listSubjectsOfWebhook(db, scope.tenantId, row.id, day)
    const keys = notices.map((notice) => notice.key)
    const facts = await findFacts(db, scope.tenantId, row.provider, keys)
    const foreseen: ForeseenReport[] = []
    for (const notice of notices) {
      const taken = facts.get(notice.key)
      const isNew = taken === undefined && !foreseen.some(({ key }) => key === notice.key)
      foreseen.push({
        key: notice.key,
        says: describe(notice),
        taken,
        effect: await describeEffect(db, scope, { notice, taken, provider, isNew, readBefore }),
        events:
          notice.about === 'account' && isNew
            ? [{ type: 'provider.reported', entity: row.connection_id }]
            : [],
      })
    }
    return foreseen
  })
}

function describe(notice: Notice): string {
  switch (notice.about) {
    case 'payment': {
      const id = notice.paymentId ?? notice.providerPaymentId ?? notice.providerCheckoutId
      return `${notice.topic} about the payment ${id}.`
    }
    case 'subscription':
      return `${notice.topic} about the subscription ${notice.subscriptionId ?? notice.providerSubscriptionId}.`
    case 'resource':
      return `${notice.topic} about ${notice.resource} ${notice.id}.`
    case 'account':
      return `${notice.topic} about the account: ${notice.detail}.`
  }
}

interface Foresight {
  notice: Notice
  taken: FactRow | undefined
  provider: { id: string; title: string }
  isNew: boolean
  /** Payments and subscriptions that the webhook made us read when it came. */
  readBefore: readonly string[]
}

async function describeEffect(
  db: Kysely<Tables>,
  scope: TenantScope,
  { notice, taken, provider, isNew, readBefore }: Foresight,
): Promise<string> {
  const { title } = provider
  if (notice.about === 'account') {
    if (isNew) return 'It is told.'
    return taken === undefined
      ? 'Nothing: this webhook says it twice.'
      : `Nothing: it was taken before, from ${taken.webhook_id}.`
  }
  if (notice.about === 'resource') {
    const before = readBefore.length === 0 ? '' : `; when it came that was ${readBefore.join(', ')}`
    return `${title} is asked which payment or subscription it belongs to${before}. That one is read, and what changed there since is told.`
  }
  const subject = await findSubject(db, scope, provider.id, notice)
  return subject === undefined
    ? `Nothing: no ${notice.about} of this tenant is known by these ids.`
    : `The ${notice.about} ${subject.id} is read at ${title}; what changed there since it was read last is told.`
}

/** The events of the webhook's trace, and those of what it is about: they stand under a trace of their own. */
function followed(
  context: Context,
  scope: TenantScope,
  { row, webhook }: RecordedWebhook,
  until: Date,
): Promise<FollowedEvent[]> {
  const notices =
    webhook === undefined
      ? []
      : requirePaymentProvider(row.provider).parse(webhook, row.received_at).slice(0, mostNotices)
  return context.database.readAsTenant(scope, async (db) => {
    const span = { since: row.received_at, until }
    const entities = new Set(await listSubjectsOfWebhook(db, scope.tenantId, row.id, span))
    for (const notice of notices) {
      if (notice.about !== 'payment' && notice.about !== 'subscription') continue
      const subject = await findSubject(db, scope, row.provider, notice)
      if (subject !== undefined) entities.add(subject.id)
    }
    return readFollowing(db, scope, { ...span, traceId: row.trace_id, entities: [...entities] })
  })
}
