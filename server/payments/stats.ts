import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { invalidRequest } from '#core/errors.ts'
import { firstIdOf } from '#core/ids.ts'
import { failureCodes } from './failures.ts'
import type { PaymentsTables } from './tables.ts'

const dayMs = 24 * 60 * 60 * 1000
const defaultDays = 30
const longestDays = 366

export const StatsQuery = z.strictObject({
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Default: 30 days before `until`.' }),
  until: z.iso.datetime({ offset: true }).optional().meta({ description: 'Default: now.' }),
  provider: z.string().min(1).max(50).optional(),
})
export type StatsQuery = z.infer<typeof StatsQuery>

const money = {
  currency: z.string(),
  confirmed: z.number().int().meta({ description: 'Taken, in minor units.' }),
  refunded: z.number().int().meta({ description: 'Given back, in minor units.' }),
  net: z.number().int(),
}
const approval = {
  approved: z.number().int().meta({ description: 'The money was taken or held.' }),
  declined: z.number().int(),
  gave_up: z.number().int().meta({ description: 'The customer left or let the time pass.' }),
  approval_rate: z.number().nullable().meta({
    description: 'Approved, of the approved and the declined: who gave up was never decided on.',
  }),
}

export const Stats = z.object({
  tenant_id: z.string(),
  since: z.iso.datetime(),
  until: z.iso.datetime(),
  totals: z.object({ payments: z.number().int(), ...approval, amounts: z.array(z.object(money)) }),
  counts: z.array(
    z.object({ day: z.iso.date(), provider: z.string(), status: z.string(), count: z.number().int() }),
  ),
  amounts: z.array(z.object({ day: z.iso.date(), provider: z.string(), ...money })),
  approvals: z.array(z.object({ day: z.iso.date(), provider: z.string(), ...approval })),
  declines: z.array(z.object({ provider: z.string(), code: z.enum(failureCodes), count: z.number().int() })),
  latency_ms: z.array(
    z.object({
      provider: z.string(),
      action: z.string(),
      calls: z.number().int(),
      p50: z.number().nullable(),
      p95: z.number().nullable(),
      p99: z.number().nullable(),
    }),
  ),
})
export type Stats = z.infer<typeof Stats>

type Db = Kysely<PaymentsTables>
interface Span {
  tenantId: string
  since: Date
  until: Date
  provider: string | null
}

/** What became of a tenant's payments, by the day they were asked for; days are UTC. */
export async function getStats(context: Context, scope: TenantScope, query: StatsQuery): Promise<Stats> {
  const until = query.until === undefined ? context.now() : new Date(query.until)
  const since =
    query.since === undefined ? new Date(until.getTime() - defaultDays * dayMs) : new Date(query.since)
  if (since >= until || until.getTime() - since.getTime() > longestDays * dayMs) {
    throw invalidRequest('since must be before until and at most 366 days apart.', [
      { field: 'since', message: 'does not fit until' },
    ])
  }
  const span = { tenantId: scope.tenantId, since, until, provider: query.provider ?? null }
  return context.database.asTenant(scope, async (db) => {
    const counts = await countPayments(db, span)
    const amounts = await sumAmounts(db, span)
    const approvals = await countApprovals(db, span)
    return {
      tenant_id: scope.tenantId,
      since: since.toISOString(),
      until: until.toISOString(),
      totals: { payments: addUp(counts, 'count'), ...totalOf(approvals), amounts: byCurrency(amounts) },
      counts,
      amounts,
      approvals: approvals.map((row) => ({ ...row, ...totalOf([row]) })),
      declines: await countDeclines(db, span),
      latency_ms: await measureLatency(db, span),
    }
  })
}

/** Which rows are meant: ids begin with the time of their creation, as the day is. */
const day = sql`to_char(created_at at time zone 'UTC', 'YYYY-MM-DD')`
const within = (span: Span) => sql`
  tenant_id = ${span.tenantId} and id >= ${firstIdOf('pay', span.since)} and id < ${firstIdOf('pay', span.until)}
  and (${span.provider}::text is null or provider = ${span.provider})`

/** Some providers call it a failure when the customer goes away. */
const isLeft = sql`(status in ('canceled', 'expired') or failure::jsonb ->> 'code' in ('canceled_by_customer', 'timed_out'))`
const isApproved = sql`(status in ('authorized', 'confirmed') or authorized_at is not null)`

async function countPayments(db: Db, span: Span): Promise<Stats['counts']> {
  const { rows } = await sql<Stats['counts'][number]>`
    select ${day} as day, provider, status, count(*)::int as count
      from payments where ${within(span)} group by 1, 2, 3 order by 1, 2, 3`.execute(db)
  return rows
}

async function sumAmounts(db: Db, span: Span): Promise<Stats['amounts']> {
  const { rows } = await sql<Stats['amounts'][number]>`
    select ${day} as day, provider, currency, sum(captured)::bigint as confirmed, sum(refunded)::bigint as refunded,
           sum(captured - refunded)::bigint as net
      from payments where ${within(span)} and captured > 0 group by 1, 2, 3 order by 1, 2, 3`.execute(db)
  return rows
}

type Approvals = Pick<Stats['approvals'][number], 'day' | 'provider' | 'approved' | 'declined' | 'gave_up'>

async function countApprovals(db: Db, span: Span): Promise<Approvals[]> {
  const { rows } = await sql<Approvals>`
    select ${day} as day, provider,
           (count(*) filter (where ${isApproved}))::int as approved,
           (count(*) filter (where status = 'failed' and not ${isApproved} and not ${isLeft}))::int as declined,
           (count(*) filter (where status in ('failed', 'canceled', 'expired') and not ${isApproved} and ${isLeft}))::int as gave_up
      from payments where ${within(span)} group by 1, 2 order by 1, 2`.execute(db)
  return rows
}

async function countDeclines(db: Db, span: Span): Promise<Stats['declines']> {
  const { rows } = await sql<Stats['declines'][number]>`
    select provider, failure::jsonb ->> 'code' as code, count(*)::int as count
      from payments where ${within(span)} and status = 'failed' and failure is not null and not ${isApproved} and not ${isLeft}
     group by 1, 2 order by 3 desc, 1, 2`.execute(db)
  return rows
}

interface LatencyRow {
  provider: string
  action: string
  calls: number
  values: number[]
}

/** Of calls that were answered. The log has an index on its ids, which begin with their time. */
async function measureLatency(db: Db, span: Span): Promise<Stats['latency_ms']> {
  const { rows } = await sql<LatencyRow>`
    select provider, action, count(*)::int as calls,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by duration_ms) as values
      from payment_log
     where tenant_id = ${span.tenantId} and id >= ${firstIdOf('plg', span.since)} and id < ${firstIdOf('plg', span.until)}
       and (${span.provider}::text is null or provider = ${span.provider})
       and duration_ms is not null and outcome in ('done', 'refused')
     group by 1, 2 order by 1, 2`.execute(db)
  return rows.map(({ provider, action, calls, values: [p50, p95, p99] }) => ({
    provider,
    action,
    calls,
    p50: round(p50),
    p95: round(p95),
    p99: round(p99),
  }))
}

function round(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value)
}

function addUp<Name extends string>(rows: ReadonlyArray<Record<Name, number>>, name: Name): number {
  return rows.reduce((sum, row) => sum + row[name], 0)
}

function totalOf(rows: readonly Approvals[]): Pick<Stats['totals'], keyof typeof approval> {
  const approved = addUp(rows, 'approved')
  const declined = addUp(rows, 'declined')
  const decided = approved + declined
  return {
    approved,
    declined,
    gave_up: addUp(rows, 'gave_up'),
    approval_rate: decided === 0 ? null : Math.round((approved / decided) * 10_000) / 10_000,
  }
}

function byCurrency(amounts: Stats['amounts']): Stats['totals']['amounts'] {
  const currencies = [...new Set(amounts.map(({ currency }) => currency))].toSorted()
  return currencies.map((currency) => {
    const rows = amounts.filter((row) => row.currency === currency)
    return {
      currency,
      confirmed: addUp(rows, 'confirmed'),
      refunded: addUp(rows, 'refunded'),
      net: addUp(rows, 'net'),
    }
  })
}
