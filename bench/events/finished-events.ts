import type pg from 'pg'
import { sampleType } from './sample-events.ts'

const perStatement = 250_000

/**
 * Fills the logs with events that were delivered, all of today: new rows go to the same partitions and indexes. Their
 * bodies are short, since no index holds them. Their attempts count as sealed, as those of earlier minutes are: a million
 * that are sealed at once would be the next rounds' burden.
 */
export async function fillFinished(sql: pg.Pool, count: number): Promise<void> {
  for (let from = 0; from < count; from += perStatement) {
    await sql.query(insertFinished, [from, Math.min(from + perStatement, count) - 1, count, sampleType])
  }
  await sql.query('vacuum analyze pipecore.events')
  await sql.query('vacuum analyze pipecore.delivery_attempts')
  await sql.query(numberOn, [count])
  await sql.query(sealAll)
  await sql.query('checkpoint')
}

const insertFinished = `with moments as (
  select n, midnight + (now() - midnight) * (n::float8 / $3::float8) as at
  from generate_series($1::int, $2::int) n, (select date_trunc('day', now(), 'UTC') as midnight) today
), named as (
  select n, at, substr(pipecore.id_bound('x', at), 3) || left(replace(gen_random_uuid()::text, '-', ''), 16) as id
  from moments
), stored as (
  insert into pipecore.events (id, tenant_id, product_id, type, entity, body, trace_id, occurred_at, stretch)
  select 'evt_' || id, 'bench_' || 1 + n % 10, 'bench', $4, 'ORD-' || n, '{"order_id":"ORD-' || n || '"}', md5(n::text), at,
    pipecore.stretch_of('evt_' || id)
  from named
)
insert into pipecore.delivery_attempts (
  id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome, status, response, duration_ms, attempted_at, number, first_byte_ms,
  body_sha256, signature)
select 'att_' || id, 'dlv_' || id, 'evt_' || id, (select e.id from pipecore.endpoints e limit 1),
  'bench_' || 1 + n % 10, 1, 'delivered', 204, '', 3, at, n + 1, 2,
  sha256(id::bytea), 'v1,' || encode(sha256(id::bytea), 'base64')
from named`

const numberOn = `insert into pipecore.work_series (series, last_number) select id, $1 from pipecore.endpoints
  on conflict (series) do update set last_number = excluded.last_number`

const sealAll = `update pipecore.audit_horizon set (sealed_place, next_place) =
  (select last_value, last_value from pipecore.attempt_places)`
