import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { firstIdOf } from '#core/ids.ts'
import {
  type FactRow,
  findFacts,
  type FollowedEvent,
  type ForeseenEvent,
  type ForeseenReport,
  type LoadedWebhook,
  type RecordedWebhook,
  type WebhookReader,
} from '#webhooks/inbound'
import { readFollowing, readOwnEvents } from '#webhooks/outbound'
import type { MessageRow } from './message-queries.ts'
import { requireMessagingProvider } from './provider-registry.ts'
import type { Channel, ProviderReport } from './providers/provider.ts'
import { type Applied, findReportedMessage } from './status-reports.ts'
import { applyOnce, type Origin, originOf, readWebhook } from './webhook-job.ts'

/** Each is really applied, in one transaction that holds what they touch: more would keep others waiting. */
const mostRehearsed = 200

export const webhookReader: WebhookReader = {
  capabilities: ['whatsapp', 'sms', 'email'],
  job: readWebhook,
  findProvider: (id, capability) => requireMessagingProvider(id, capability as Channel),
  foresee,
  followed,
}

/** Takes the reports as the job would and takes all of it back: what is told is what would happen. */
async function foresee(
  context: Context,
  scope: TenantScope,
  { row, webhook }: LoadedWebhook,
): Promise<ForeseenReport[]> {
  const reports = requireMessagingProvider(row.provider).parse(webhook, row.received_at)
  const keys = reports.map((report) => report.key)
  const facts = await context.database.readAsTenant(scope, (db) =>
    findFacts(db, scope.tenantId, row.provider, keys),
  )
  const own = { ...scope, traceId: row.trace_id }
  const rehearsal = { context, scope: own, origin: originOf(row), facts, since: context.now() }
  const rehearsed = await context.database.rehearseAsTenant(own, (db) =>
    rehearse(db, rehearsal, reports.slice(0, mostRehearsed)),
  )
  return [...rehearsed, ...reports.slice(mostRehearsed).map((report) => leaveOut(report, facts))]
}

interface Rehearsal {
  context: Context
  scope: TenantScope
  origin: Origin
  facts: ReadonlyMap<string, FactRow>
  since: Date
}

async function rehearse(
  db: Kysely<Tables>,
  { context, scope, origin, facts, since }: Rehearsal,
  reports: readonly ProviderReport[],
): Promise<ForeseenReport[]> {
  const foreseen: ForeseenReport[] = []
  const seen = new Set<string>()
  for (const report of reports) {
    const message = await findMessage(db, scope, origin, report)
    const applied = await applyOnce(context, db, scope, origin, report)
    const events = (await readOwnEvents(db, scope, since)).filter(({ id }) => !seen.has(id))
    for (const { id } of events) seen.add(id)
    const taken = facts.get(report.key)
    foreseen.push({
      key: report.key,
      says: describe(report, message),
      taken,
      effect: describeEffect(applied, report, message, taken),
      events: events.map(({ type, entity }) => toForeseen(type, entity, since)),
    })
  }
  return foreseen
}

/** A message that the rehearsal made will be another one. */
function toForeseen(type: string, entity: string, since: Date): ForeseenEvent {
  return { type, entity: entity >= firstIdOf('msg', since) && entity.startsWith('msg_') ? null : entity }
}

function leaveOut(report: ProviderReport, facts: ReadonlyMap<string, FactRow>): ForeseenReport {
  const effect = `Not looked at: only the first ${mostRehearsed} reports of a webhook are.`
  const taken = facts.get(report.key)
  return { key: report.key, says: describe(report, undefined), taken, effect, events: [] }
}

async function findMessage(
  db: Kysely<Tables>,
  scope: TenantScope,
  origin: Origin,
  report: ProviderReport,
): Promise<MessageRow | undefined> {
  if (report.type === 'inbound' || report.type === 'account') return undefined
  return findReportedMessage(db, scope, origin.provider, report)
}

function describe(report: ProviderReport, message: MessageRow | undefined): string {
  switch (report.type) {
    case 'status': {
      const why = report.error?.message ?? report.detail
      return `Message ${nameOf(report, message)} is ${report.status}${why === undefined ? '' : ` (${why})`}.`
    }
    case 'engagement':
      return `Message ${nameOf(report, message)} was ${wordOf[report.engagement]}${report.machine ? ' by a machine' : ''}.`
    case 'consent':
      return `${report.recipient} ${report.consent === 'out' ? 'opted out' : 'opted in'} (${report.reason}).`
    case 'inbound':
      return `${report.from} wrote to ${report.to}.`
    case 'account':
      return `About the account: ${report.subject}, ${report.detail}.`
  }
}

const wordOf = { opened: 'opened', clicked: 'clicked', complained: 'reported as spam' }

function nameOf(
  report: { messageId?: string; providerMessageId?: string },
  message: MessageRow | undefined,
): string {
  return message?.id ?? report.messageId ?? report.providerMessageId ?? 'without an id'
}

function describeEffect(
  applied: Applied | 'repeated',
  report: ProviderReport,
  message: MessageRow | undefined,
  taken: FactRow | undefined,
): string {
  if (applied === 'repeated') {
    return taken === undefined
      ? 'Nothing: this webhook says it twice.'
      : `Nothing: it was taken before, from ${taken.webhook_id}.`
  }
  if (applied === 'unmatched') return 'Nothing: no message of this tenant is known by these ids.'
  if (applied === 'late') return `It is noted; the message stays ${message?.status}.`
  if (report.type === 'status') return `The message moves on from ${message?.status} to ${report.status}.`
  if (report.type !== 'inbound') return 'It is told.'
  return report.fetchContent === true
    ? 'The message is fetched from the provider, taken and told.'
    : 'The message is taken and told.'
}

/** What a message reported is told with the time of the report; all else stands under the webhook's trace. */
async function followed(
  context: Context,
  scope: TenantScope,
  { row, webhook }: RecordedWebhook,
  until: Date,
): Promise<FollowedEvent[]> {
  const origin = originOf(row)
  const reports =
    webhook === undefined ? [] : requireMessagingProvider(row.provider).parse(webhook, row.received_at)
  const times = new Set(reports.map((report) => report.at.toISOString()))
  const events = await context.database.readAsTenant(scope, async (db) => {
    const entities = new Set<string>()
    for (const report of reports.slice(0, mostRehearsed)) {
      const message = await findMessage(db, scope, origin, report)
      if (message !== undefined) entities.add(message.id)
      if (report.type === 'consent') entities.add(report.recipient)
    }
    const following = {
      since: row.received_at,
      until,
      traceId: row.trace_id,
      entities: [...entities],
    }
    return readFollowing(db, scope, following)
  })
  return events.filter((event) => event.trace_id === row.trace_id || times.has(event.occurred_at))
}
