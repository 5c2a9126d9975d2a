import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { invalidRequest } from '#core/errors.ts'
import type { MessagingTables } from './tables.ts'

const dayMs = 24 * 60 * 60 * 1000
const defaultDays = 30
const longestDays = 366

export const StatsQuery = z.strictObject({
  since: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Default: 30 days before `until`.' }),
  until: z.iso.datetime({ offset: true }).optional().meta({ description: 'Default: now.' }),
  channel: z.enum(['whatsapp', 'sms', 'email']).optional(),
})
export type StatsQuery = z.infer<typeof StatsQuery>

const percentiles = z.object({
  p50: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
})

export const Stats = z.object({
  tenant_id: z.string(),
  since: z.iso.datetime(),
  until: z.iso.datetime(),
  totals: z.object({
    sent: z.number().int().meta({ description: 'Outgoing messages, whatever became of them.' }),
    received: z.number().int(),
    delivery_rate: z
      .number()
      .nullable()
      .meta({ description: 'Delivered or read, of those that reached an end.' }),
    read_rate: z.number().nullable(),
    failure_rate: z.number().nullable(),
  }),
  counts: z.array(
    z.object({
      day: z.iso.date(),
      channel: z.string(),
      provider: z.string(),
      direction: z.string(),
      status: z.string(),
      count: z.number().int(),
    }),
  ),
  latency_ms: z.array(
    z.object({
      channel: z.string(),
      provider: z.string(),
      accepted_to_sent: percentiles,
      sent_to_delivered: percentiles,
      provider_call: percentiles,
    }),
  ),
  costs: z.array(
    z.object({
      channel: z.string(),
      provider: z.string(),
      currency: z.string(),
      amount: z.string(),
      messages: z.number().int(),
    }),
  ),
})
export type Stats = z.infer<typeof Stats>

type Db = Kysely<MessagingTables>
interface Span {
  tenantId: string
  since: Date
  until: Date
  channel: string | null
}

/** Counts, rates, latency percentiles and costs of a tenant's messages; days are UTC. */
export async function getStats(context: Context, scope: TenantScope, query: StatsQuery): Promise<Stats> {
  const until = query.until === undefined ? context.now() : new Date(query.until)
  const since =
    query.since === undefined ? new Date(until.getTime() - defaultDays * dayMs) : new Date(query.since)
  if (since >= until || until.getTime() - since.getTime() > longestDays * dayMs) {
    throw invalidRequest('since must be before until and at most 366 days apart.', [
      { field: 'since', message: 'does not fit until' },
    ])
  }
  const span = { tenantId: scope.tenantId, since, until, channel: query.channel ?? null }
  return context.database.asTenant(scope, async (db) => {
    const counts = await countMessages(db, span)
    return {
      tenant_id: scope.tenantId,
      since: since.toISOString(),
      until: until.toISOString(),
      totals: totalsOf(counts),
      counts,
      latency_ms: await measureLatency(db, span),
      costs: await sumCosts(db, span),
    }
  })
}

async function countMessages(db: Db, span: Span): Promise<Stats['counts']> {
  const { rows } = await sql<Stats['counts'][number]>`
    select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, channel, provider, direction, status, count(*)::int as count
      from messages
     where tenant_id = ${span.tenantId} and created_at >= ${span.since} and created_at < ${span.until}
       and (${span.channel}::text is null or channel = ${span.channel})
     group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`.execute(db)
  return rows
}

function totalsOf(counts: Stats['counts']): Stats['totals'] {
  const sum = (direction: string, ...statuses: string[]) =>
    counts
      .filter(
        (row) => row.direction === direction && (statuses.length === 0 || statuses.includes(row.status)),
      )
      .reduce((total, row) => total + row.count, 0)
  const arrived = sum('out', 'delivered', 'read')
  const failed = sum('out', 'failed')
  const ended = arrived + failed
  const rate = (part: number, whole: number) =>
    whole === 0 ? null : Math.round((part / whole) * 10_000) / 10_000
  return {
    sent: sum('out'),
    received: sum('in'),
    delivery_rate: rate(arrived, ended),
    read_rate: rate(sum('out', 'read'), arrived),
    failure_rate: rate(failed, ended),
  }
}

interface LatencyRow {
  channel: string
  provider: string
  sent: number[] | null
  delivered: number[] | null
  called: number[] | null
}

async function measureLatency(db: Db, span: Span): Promise<Stats['latency_ms']> {
  const { rows } = await sql<LatencyRow>`
    select m.channel, m.provider,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from m.sent_at - greatest(m.created_at, m.send_at)) * 1000) as sent,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from m.delivered_at - m.sent_at) * 1000) as delivered,
           percentile_cont(array[0.5, 0.95, 0.99]) within group (order by a.duration_ms) as called
      from messages m left join message_attempts a on a.message_id = m.id and a.tenant_id = m.tenant_id and a.outcome = 'done'
     where m.tenant_id = ${span.tenantId} and m.created_at >= ${span.since} and m.created_at < ${span.until} and m.direction = 'out'
       and (${span.channel}::text is null or m.channel = ${span.channel})
     group by 1, 2 order by 1, 2`.execute(db)
  return rows.map((row) => ({
    channel: row.channel,
    provider: row.provider,
    accepted_to_sent: toPercentiles(row.sent),
    sent_to_delivered: toPercentiles(row.delivered),
    provider_call: toPercentiles(row.called),
  }))
}

/** Providers report whole seconds, so a step can look as if it took a negative part of one. */
function toPercentiles(values: number[] | null): z.infer<typeof percentiles> {
  const at = (index: number) =>
    values?.[index] === undefined ? null : Math.max(0, Math.round(values[index]))
  return { p50: at(0), p95: at(1), p99: at(2) }
}

async function sumCosts(db: Db, span: Span): Promise<Stats['costs']> {
  const { rows } = await sql<Stats['costs'][number]>`
    select channel, provider, cost_currency as currency, sum(cost_amount)::text as amount, count(*)::int as messages
      from messages
     where tenant_id = ${span.tenantId} and created_at >= ${span.since} and created_at < ${span.until} and cost_amount is not null
       and (${span.channel}::text is null or channel = ${span.channel})
     group by 1, 2, 3 order by 1, 2, 3`.execute(db)
  return rows
}
