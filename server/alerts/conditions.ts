import type { Kysely } from 'kysely'
import type { Tables } from '#core/database.ts'
import { listOldestDue } from '#jobs'
import { countMessagingCalls } from '#messaging'
import { countPaymentCalls } from '#payments'
import { findWebhooksSince } from '#webhooks/inbound'
import { findEventsSince, listFailingEndpoints } from '#webhooks/outbound'
import type { RuleSettings } from './schema.ts'
import type { RuleKind } from './tables.ts'

type SettingsOf<Kind extends RuleKind> = Extract<RuleSettings, { kind: Kind }>

export interface TenantRule<Settings extends RuleSettings = RuleSettings> {
  tenantId: string
  name: string
  settings: Settings
  /** When it was saved: silence counts from then at the earliest. */
  since: Date
}

export interface Condition {
  tenantId: string
  rule: string
  kind: RuleKind
  subject: string
  details: Record<string, unknown>
}

/** The rules of a tenant, defaults included. */
export type RulesOf = <Kind extends RuleKind>(tenantId: string, kind: Kind) => TenantRule<SettingsOf<Kind>>[]

export interface Rulebook {
  of: RulesOf
  /** Those that tenants saved. */
  saved: readonly TenantRule[]
}

interface Moment {
  db: Kysely<Tables>
  now: Date
}

const minuteMs = 60_000

/** Everything that is wrong now: a few statements over all tenants, however many there are. */
export async function findConditions(moment: Moment, rules: Rulebook): Promise<Condition[]> {
  const endpoints = await listFailingEndpoints(moment.db)
  const found = await Promise.all([
    failingProviders(moment, rules),
    failingEndpoints(moment, rules, endpoints),
    backlogs(moment, rules, new Set(endpoints.map(({ id }) => id))),
    silences(moment, rules),
  ])
  return found.flat()
}

const defaultWindow = 10

async function failingProviders({ db, now }: Moment, { of, saved }: Rulebook): Promise<Condition[]> {
  const windows = new Set([defaultWindow])
  for (const { settings } of saved)
    if (settings.kind === 'provider_failing') windows.add(settings.window_minutes)
  const found: Condition[] = []
  for (const window of windows) {
    const since = new Date(now.getTime() - window * minuteMs)
    const calls = [...(await countMessagingCalls(db, since)), ...(await countPaymentCalls(db, since))]
    for (const {
      tenant_id: tenantId,
      subject,
      provider,
      calls: all,
      failed,
      last_error: lastError,
    } of calls) {
      const broken = of(tenantId, 'provider_failing').filter(
        ({ settings }) =>
          settings.window_minutes === window && failed >= settings.at_least && failed / all >= settings.share,
      )
      const details = { provider, calls: all, failed, window_minutes: window, last_error: lastError }
      found.push(
        ...broken.map(({ name }) => ({
          tenantId,
          rule: name,
          kind: 'provider_failing' as const,
          subject,
          details,
        })),
      )
    }
  }
  return found
}

type FailingEndpoint = Awaited<ReturnType<typeof listFailingEndpoints>>[number]

async function failingEndpoints(
  { now }: Moment,
  { of }: Rulebook,
  endpoints: readonly FailingEndpoint[],
): Promise<Condition[]> {
  return endpoints.flatMap((endpoint) => {
    const { id, tenant_id: tenantId, url, failing_since: since, last_error, disabled_reason } = endpoint
    const forMs = since === null ? 0 : now.getTime() - since.getTime()
    const details = { url, failing_since: since?.toISOString() ?? null, last_error, disabled_reason }
    return of(tenantId, 'endpoint_failing')
      .filter(({ settings }) => disabled_reason !== null || forMs >= settings.for_minutes * minuteMs)
      .map(({ name }) => ({ tenantId, rule: name, kind: 'endpoint_failing' as const, subject: id, details }))
  })
}

/** What waits for an endpoint that fails is no news of its own. */
async function backlogs(
  { db, now }: Moment,
  { of, saved }: Rulebook,
  failing: ReadonlySet<string>,
): Promise<Condition[]> {
  const ages = saved.flatMap(({ settings }) =>
    settings.kind === 'backlog' ? [settings.older_than_minutes] : [],
  )
  const youngest = Math.min(defaultBacklogMinutes, ...ages)
  const before = new Date(now.getTime() - youngest * minuteMs)
  const rows = await listOldestDue(db, { kind: 'delivery', before })
  return rows
    .filter(({ series }) => !failing.has(series))
    .flatMap(({ tenant_id: tenantId, series, oldest_due: oldest }) => {
      const ageMs = now.getTime() - oldest.getTime()
      const details = { endpoint_id: series, oldest_due: oldest.toISOString() }
      return of(tenantId, 'backlog')
        .filter(({ settings }) => ageMs > settings.older_than_minutes * minuteMs)
        .map(({ name }) => ({ tenantId, rule: name, kind: 'backlog' as const, subject: series, details }))
    })
}

const defaultBacklogMinutes = 15

async function silences({ db, now }: Moment, { saved }: Rulebook): Promise<Condition[]> {
  const waiting = saved.flatMap(({ tenantId, name, settings, since }) => {
    if (settings.kind !== 'silence' || !settings.active) return []
    const from = new Date(now.getTime() - settings.within_minutes * minuteMs)
    return since > from ? [] : [{ tenantId, rule: name, settings, name: settings.name, from }]
  })
  const heard = new Set<(typeof waiting)[number]>()
  for (const [source, find] of [
    ['event', findEventsSince],
    ['inbound_webhook', findWebhooksSince],
  ] as const) {
    const asked = waiting.filter(({ settings }) => settings.source === source)
    const found = await find(db, asked)
    for (const [index, one] of asked.entries()) if (found[index] === true) heard.add(one)
  }
  return waiting
    .filter((one) => !heard.has(one))
    .map(({ tenantId, rule, settings }) => ({
      tenantId,
      rule,
      kind: 'silence' as const,
      subject: settings.name,
      details: { source: settings.source, within_minutes: settings.within_minutes },
    }))
}
