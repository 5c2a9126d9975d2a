import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import pg from 'pg'
import { startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Replay } from './schema.ts'
import { until } from '../testing.ts'
import { happen, untilReplay } from './testing.ts'

const main = fileURLToPath(new URL('../../../main.ts', import.meta.url))
const events = 200

/** A process of its own, as in production: a kill ends it wherever it stands. */
function startWorker(t: TestContext, { server, ownerUrl }: TestServer): ChildProcess {
  const worker = spawn(process.execPath, [main, '--role', 'worker'], {
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: ownerUrl,
      PIPECORE_MASTER_KEY: server.context.config.masterKey,
      PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'true',
      PIPECORE_LOG_LEVEL: 'error',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  t.after(() => worker.kill('SIGKILL'))
  return worker
}

async function kill(worker: ChildProcess): Promise<void> {
  worker.kill('SIGKILL')
  await once(worker, 'exit')
}

async function openOwner(t: TestContext, url: string): Promise<pg.Client> {
  const owner = new pg.Client({ connectionString: url })
  await owner.connect()
  // The database may be dropped under it.
  owner.on('error', () => undefined)
  t.after(() => owner.end())
  return owner
}

async function isSomebodyWaiting(owner: pg.Client): Promise<boolean> {
  const { rows } = await owner.query<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%dead_work%'`,
  )
  return (rows[0]?.count ?? 0) > 0
}

/** All events are dead at the endpoint, without having been tried. */
async function makeDead(t: TestContext, test: TestServer, url: string): Promise<string> {
  const { body } = await test.api.call<{ id: string }>('POST', '/webhooks/endpoints', {
    url,
    product_id: 'product_a',
    events: ['killed.*'],
  })
  await happen(test.server.context, 'killed.thing', events)
  const owner = await openOwner(t, test.ownerUrl)
  await owner.query(`
    with dead as (delete from pipecore.work where kind = 'delivery' returning *)
    insert into pipecore.dead_work (id, kind, lane, tenant_id, product_id, ref, run_at, attempts, error, died_at, series)
    select id, kind, lane, tenant_id, product_id, ref, run_at, attempts, 'test', now(), series from dead`)
  return body.id
}

test('a worker killed in the middle of a step, and again between steps, neither loses nor doubles a delivery', async (t) => {
  const whole = await startTestServer(t, { role: 'api' })
  const { api, server, ownerUrl } = whole
  await api.call('POST', '/products', { id: 'product_a', name: 'a' })
  await api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'product_a', name: 'a' })
  const receiver = await startReceiver(t)
  const endpointId = await makeDead(t, whole, receiver.url)
  const locker = await openOwner(t, ownerUrl)
  // The first step opens its deliveries, and then can't take them out of the dead ones.
  await locker.query('begin')
  await locker.query('select from pipecore.dead_work order by ref limit 1 for update')
  const first = startWorker(t, whole)
  const from = new Date(Date.now() - 3_600_000).toISOString()
  const plan = { product_id: 'product_a', endpoint_ids: [endpointId], from, states: ['dead'], rate: 20 }
  const { body: replay } = await api.call<Replay>('POST', '/webhooks/replays', plan)
  const watcher = await openOwner(t, ownerUrl)
  await until(() => isSomebodyWaiting(watcher), 'no step came so far')
  await kill(first)
  await locker.query('rollback')
  const { body: stopped } = await api.call<Replay>('GET', `/webhooks/replays/${replay.id}`)
  assert.equal(stopped.sent, 0)
  const second = startWorker(t, whole)
  await untilReplay(api, replay.id, ({ sent }) => sent > 0)
  await kill(second)
  startWorker(t, whole)
  await untilReplay(api, replay.id, ({ state, sent }) => state === 'done' && sent === events)
  const { system } = server.context.database
  const countOpen = sql<{ count: number }>`select count(*)::int as count from work where kind = 'delivery'`
  await until(async () => (await countOpen.execute(system)).rows[0]?.count === 0, 'not all arrived')
  const { rows } = await sql<{ events: number; deliveries: number; delivered: number }>`
    select count(distinct event_id)::int as events, count(distinct delivery_id)::int as deliveries,
      count(*) filter (where outcome = 'delivered')::int as delivered
    from delivery_attempts`.execute(system)
  assert.deepEqual(rows, [{ events, deliveries: events, delivered: events }])
  assert.equal(new Set(receiver.events.map(({ body }) => body.id)).size, events)
})
