import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { createTraceId } from '#core/trace.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { findProductsOf } from '#tenants'
import { recordEvents } from '#webhooks/outbound'
import { type Condition, findConditions, type Rulebook, type RulesOf, type TenantRule } from './conditions.ts'
import { tellIncident } from './notices.ts'
import {
  type IncidentRow,
  insertIncidents,
  listAllRules,
  listOpenIncidents,
  lockEvaluation,
  resolveIncidents,
  setHealthy,
} from './queries.ts'
import { defaultRules, readSettings } from './rules.ts'
import type { Phase } from './tables.ts'

/** The rest opens a minute later. */
const mostOpenedAtOnce = 500
/** Two evaluations within this are one: a job that died after its commit runs again. */
const shortestApartMs = 30_000

/** Looks at all rules of all tenants; what begins and what is over is told in the same commit that records it. */
export async function evaluateAlerts(context: Context): Promise<void> {
  await context.database.asSystem(async (db) => {
    // First: what is read before would be old when its turn comes.
    await lockEvaluation(db)
    const rules = await readRulebook(db)
    const conditions = await findConditions({ db, now: context.now() }, rules)
    const products = await findProductsOf(
      context,
      conditions.map(({ tenantId }) => tenantId),
    )
    const open = await listOpenIncidents(db)
    await openNew(context, db, { conditions, open, products })
    await closeMended(context, db, { conditions, open, rules })
  })
  wakeWork('job')
  wakeWork('delivery')
}

async function readRulebook(db: Kysely<Tables>): Promise<Rulebook> {
  const rows = await listAllRules(db)
  const saved = rows.map((row): TenantRule => ({
    tenantId: row.tenant_id,
    name: row.name,
    settings: readSettings(row),
    since: row.updated_at,
  }))
  const byTenant = Map.groupBy(saved, ({ tenantId }) => tenantId)
  const of = (tenantId: string, kind: string) => {
    const own = byTenant.get(tenantId) ?? []
    const names = new Set(own.map(({ name }) => name))
    const untouched = [...defaultRules]
      .filter(([name]) => !names.has(name))
      .map(([name, settings]) => ({ tenantId, name, settings, since: new Date(0) }))
    return [...own, ...untouched].filter(({ settings }) => settings.kind === kind && settings.active)
  }
  return { of: of as RulesOf, saved }
}

function keyOf(one: { tenantId: string; rule: string; subject: string }): string {
  return `${one.tenantId} ${one.rule} ${one.subject}`
}

function keyOfRow({ tenant_id: tenantId, rule, subject }: IncidentRow): string {
  return keyOf({ tenantId, rule, subject })
}

interface Opening {
  conditions: readonly Condition[]
  open: readonly IncidentRow[]
  products: ReadonlyMap<string, string>
}

async function openNew(
  context: Context,
  db: Kysely<Tables>,
  { conditions, open, products }: Opening,
): Promise<void> {
  const now = context.now()
  const known = new Set(open.map(keyOfRow))
  const rows = conditions
    .filter((condition) => !known.has(keyOf(condition)))
    .slice(0, mostOpenedAtOnce)
    .map((condition) => ({
      id: createId('inc', now),
      tenant_id: condition.tenantId,
      product_id: products.get(condition.tenantId) ?? '',
      rule: condition.rule,
      kind: condition.kind,
      subject: condition.subject,
      details: JSON.stringify(condition.details),
      opened_at: now,
      counted_at: now,
      resolved_at: null,
    }))
  for (const incident of await insertIncidents(db, rows)) await tell(context, db, incident, 'raised')
}

interface Closing {
  conditions: readonly Condition[]
  open: readonly IncidentRow[]
  rules: Rulebook
}

async function closeMended(
  context: Context,
  db: Kysely<Tables>,
  { conditions, open, rules }: Closing,
): Promise<void> {
  const now = context.now()
  const wrong = new Set(conditions.map(keyOf))
  const relapsed = open.filter((row) => wrong.has(keyOfRow(row)) && row.healthy > 0)
  const mended = open.filter(
    (row) => !wrong.has(keyOfRow(row)) && now.getTime() - row.counted_at.getTime() >= shortestApartMs,
  )
  const isOver = (row: IncidentRow) => row.healthy + 1 >= checksOf(rules, row)
  const idOf = ({ id }: IncidentRow) => id
  await setHealthy(db, relapsed.map(idOf), 'none', now)
  await setHealthy(db, mended.filter((row) => !isOver(row)).map(idOf), 'more', now)
  const over = await resolveIncidents(db, mended.filter(isOver).map(idOf), now)
  for (const incident of over) await tell(context, db, incident, 'resolved')
}

/** Without its rule, an incident is over at once. */
function checksOf({ of }: Rulebook, row: IncidentRow): number {
  return of(row.tenant_id, row.kind).find(({ name }) => name === row.rule)?.settings.healthy_checks ?? 1
}

async function tell(
  context: Context,
  db: Kysely<Tables>,
  incident: IncidentRow,
  phase: Phase,
): Promise<void> {
  const now = context.now()
  const { id, tenant_id: tenantId, product_id: productId, rule, kind, subject } = incident
  const scope = { tenantId, productId, traceId: createTraceId() }
  const data = {
    incident_id: id,
    rule,
    kind,
    subject,
    details: JSON.parse(incident.details) as unknown,
    opened_at: incident.opened_at.toISOString(),
    ...(incident.resolved_at !== null && { resolved_at: incident.resolved_at.toISOString() }),
  }
  await recordEvents(db, scope, [{ type: `alert.${phase}`, entity: id, occurredAt: now, data }], now)
  const payload = { incident_id: id, phase }
  await enqueueJob(db, tellIncident, payload, { scope, traceId: scope.traceId, key: `${id}:${phase}`, now })
}
