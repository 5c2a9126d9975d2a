import type pg from 'pg'
import { sampleType } from './sample-events.ts'

const perStatement = 250_000

/**
 * Fills the logs with events that were delivered, all of today: new rows go to the same partitions and indexes. Their
 * bodies are short, since no index holds them.
 */
export async function fillFinished(sql: pg.Pool, count: number): Promise<void> {
  for (let from = 0; from < count; from += perStatement) {
    await sql.query(insertFinished, [from, Math.min(from + perStatement, count) - 1, count, sampleType])
  }
  await sql.query('vacuum analyze pipecore.events')
  await sql.query('vacuum analyze pipecore.delivery_attempts')
  await sql.query('checkpoint')
}

const insertFinished = `with moments as (
  select n, midnight + (now() - midnight) * (n::float8 / $3::float8) as at
  from generate_series($1::int, $2::int) n, (select date_trunc('day', now(), 'UTC') as midnight) today
), named as (
  select n, at, substr(pipecore.id_bound('x', at), 3) || left(replace(gen_random_uuid()::text, '-', ''), 16) as id
  from moments
), stored as (
  insert into pipecore.events (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at)
  select 'evt_' || id, 'bench_' || 1 + n % 10, 'bench', $4, 'ORD-' || n, '{"order_id":"ORD-' || n || '"}', md5(n::text), at
  from named
)
insert into pipecore.delivery_attempts (
  id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, status, response, duration_ms, attempted_at, number, first_byte_ms,
  body_sha256, signature)
select 'att_' || id, 'dlv_' || id, 'evt_' || id, (select e.id from pipecore.endpoints e limit 1),
  'bench_' || 1 + n % 10, 1, 'delivered', 204, '', 3, at, n + 1, 2,
  sha256(id::bytea), 'v1,' || encode(sha256(id::bytea), 'base64')
from named`
