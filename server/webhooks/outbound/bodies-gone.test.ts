import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, describe, test } from 'node:test'
import pg from 'pg'
import { insertWork, wakeWork } from '#jobs'
import { type Receiver, startReceiver } from '../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import { redeliveryOf } from './events.ts'
import { happen, untilReplay } from './replays/testing.ts'
import { until } from './testing.ts'
import type { Feed } from './feed/schema.ts'
import type { ReplayForecast, Replay } from './replays/schema.ts'
import type { EventDetail } from './schema.ts'

const ageMs = 9 * 86_400_000
const appSecret = 'fake-app-secret'
let shiftMs = 0
let server: TestServer
let receiver: Receiver
let owner: pg.Client
let endpointId = ''
let eventId = ''
let webhookId = ''
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() - shiftMs) })
  receiver = await startReceiver(keep)
  owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  keep.after(() => owner.end())
  const { api } = server
  await api.call('POST', '/products', { id: 'product_a', name: 'A' })
  const wish = { retention_days: 365, raw_retention_days: 7 }
  await api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'product_a', name: 'A', ...wish })
  const credentials = { accessToken: 'fake', phoneNumberId: 'phone', verifyToken: 'fake', appSecret }
  const config = { tenantId: 'tenant_a', channel: 'whatsapp', provider: 'meta', credentials }
  await api.call('POST', '/messaging/config/provider', config)
  const endpoint = { url: receiver.url, product_id: 'product_a', events: ['*'] }
  endpointId = (await api.call<{ id: string }>('POST', '/webhooks/endpoints', endpoint)).body.id
  await liveNineDaysAgo()
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

/** An event and a provider's webhook of then, both done with; then the night that takes their bodies. */
async function liveNineDaysAgo(): Promise<void> {
  const day = new Date(Date.now() - ageMs).toISOString().slice(0, 10)
  for (const [table, prefix] of [
    ['events', 'evt'],
    ['inbound_webhooks', 'whk'],
  ])
    await owner.query('select make_day_partition($1, $2, $3)', [table, prefix, day])
  shiftMs = ageMs
  await happen(server.server.context, 'thing.happened')
  await postMessage()
  await until(
    async () => (await owner.query('select from work where tenant_id is not null')).rowCount === 0,
    'open',
  )
  await until(() => receiver.events.length === 2, 'not delivered')
  shiftMs = 0
  eventId = (await owner.query(`select id from events where type = 'thing.happened'`)).rows[0].id
  webhookId = (await owner.query('select id from inbound_webhooks')).rows[0].id
  for (const table of ['events', 'inbound_webhooks']) {
    const { rows } = await owner.query('select settle_day($1, $2) as action', [table, day])
    assert.deepEqual(rows, [{ action: 'rebuilt' }])
  }
}

async function postMessage(): Promise<void> {
  const message = {
    from: '56988888888',
    id: 'wamid.1',
    timestamp: '1750000000',
    type: 'text',
    text: { body: 'hola' },
  }
  const metadata = { phone_number_id: 'phone' }
  const value = { messaging_product: 'whatsapp', metadata, messages: [message] }
  const changes = [{ field: 'messages', value }]
  const body = JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: 'waba', changes }] })
  const signature = `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`
  const url = `${server.server.url}/messaging/webhook/whatsapp?tenant_id=tenant_a&provider=meta`
  const headers = { 'content-type': 'application/json', 'x-hub-signature-256': signature }
  assert.equal((await fetch(url, { method: 'POST', headers, body })).status, 200)
}

interface Problem {
  code: string
}

describe('an event whose body is gone', () => {
  test('is still told with its deliveries, without a body', async () => {
    const { status, body } = await server.api.call<EventDetail>('GET', `/webhooks/events/${eventId}`)
    assert.deepEqual([status, body.body, body.type], [200, null, 'thing.happened'])
    assert.deepEqual(
      body.deliveries.map(({ state }) => state),
      ['delivered'],
    )
  })

  test('can neither be replayed nor be tried on a filter', async () => {
    const replay = await server.api.call<Problem>('POST', `/webhooks/events/${eventId}/replay`, {})
    assert.deepEqual([replay.status, replay.body.code], [409, 'event_body_gone'])
    const trial = { event_id: eventId, filter: { place: [0] } }
    const path = `/webhooks/endpoints/${endpointId}/filter/test`
    const tried = await server.api.call<Problem>('POST', path, trial)
    assert.deepEqual([tried.status, tried.body.code], [409, 'event_body_gone'])
  })

  test('is counted by a replay as what it is, and not sent', async () => {
    const from = new Date(Date.now() - ageMs - 86_400_000).toISOString()
    const to = new Date(Date.now() - ageMs + 3_600_000).toISOString()
    const plan = { product_id: 'product_a', endpoint_ids: [endpointId], from, to, include_delivered: true }
    const dry = await server.api.call<ReplayForecast>('POST', '/webhooks/replays', { ...plan, dry_run: true })
    assert.equal(dry.body.to_send, 0)
    assert.deepEqual(
      new Set(dry.body.counts.map(({ state, sends }) => `${state} ${sends}`)),
      new Set(['body_gone false']),
    )
    const started = await server.api.call<Replay>('POST', '/webhooks/replays', plan)
    const done = await untilReplay(server.api, started.body.id, ({ state }) => state === 'done')
    assert.deepEqual([done.looked_at, done.sent, receiver.events.length], [2, 0, 2])
  })

  test('has its number in the feed, without a body', async () => {
    const { body } = await server.api.call<Feed>('GET', `/webhooks/endpoints/${endpointId}/events?after=0`)
    assert.deepEqual(
      body.data.map((entry) => [entry.sequence, entry.state, entry.body]),
      [
        [1, 'delivered', null],
        [2, 'delivered', null],
      ],
    )
  })

  test('ends a delivery that is opened all the same, and says why', async () => {
    const { database, now } = server.server.context
    const event = { id: eventId, tenant_id: 'tenant_a', product_id: 'product_a' }
    const delivery = redeliveryOf(event, endpointId, now())
    await insertWork(database.system, [delivery])
    wakeWork('delivery')
    const dead = async () =>
      (await owner.query('select error from dead_work where id = $1', [delivery.id])).rows
    await until(async () => (await dead()).length === 1, 'it did not end')
    assert.match((await dead())[0].error, /body of the event is past its retention/)
    assert.equal(receiver.events.length, 2)
  })
})

describe('a webhook whose request is gone', () => {
  test('is still told with what was taken from it and what followed', async () => {
    const path = `/webhooks/inbound/${webhookId}?tenant_id=tenant_a`
    const { status, body } = await server.api.call<
      Record<string, unknown> & { facts: unknown[]; events: Array<{ type: string }> }
    >('GET', path)
    assert.deepEqual([status, body.target, body.headers, body.body], [200, null, null, null])
    assert.equal(body.facts.length, 1)
    assert.deepEqual(
      body.events.map(({ type }) => type),
      ['message.received'],
    )
  })

  test('can not be replayed, not even to see, and says what to do', async () => {
    for (const apply of [false, true]) {
      const path = `/webhooks/inbound/${webhookId}/replay?tenant_id=tenant_a`
      const { status, body } = await server.api.call<Problem & { detail: string }>('POST', path, { apply })
      assert.deepEqual([status, body.code], [409, 'webhook_request_gone'])
      assert.match(JSON.stringify(body), /Let the provider send it once more/)
    }
  })
})
