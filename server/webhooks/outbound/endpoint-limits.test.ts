import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { before, describe, test } from 'node:test'
import pg from 'pg'
import { createTraceId } from '#core/trace.ts'
import { wakeWork } from '#jobs'
import { type Receiver, startReceiver } from '../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import type { NewEvent } from './index.ts'
import type { Endpoint, EventDetail } from './schema.ts'
import { postEndpoint, recordFacts, until } from './testing.ts'

let server: TestServer
const dayMs = 24 * 60 * 60 * 1000
let offsetMs = 0
const now = () => new Date(Date.now() + offsetMs)
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now })
  await server.api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  for (const id of ['tenant_a', 'tenant_b'])
    await server.api.call('POST', '/tenants', { id, product_id: 'shop', name: id })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

const makeEndpoint = (input: object) => postEndpoint<Endpoint>(server.api, input)

async function readEndpoint(id: string): Promise<Endpoint> {
  return (await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${id}`)).body
}

/** Facts of one tenant, recorded together, a day late. */
async function happen(facts: ReadonlyArray<Pick<NewEvent, 'type' | 'entity'>>, tenantId = 'tenant_a') {
  const { context } = server.server
  const scope = { tenantId, productId: 'shop', traceId: createTraceId() }
  const occurredAt = new Date(context.now().getTime() - dayMs)
  const events = facts.map((fact) => ({ ...fact, occurredAt, data: { entity: fact.entity } }))
  await recordFacts(context, scope, events)
}

function manyOf(type: string, count: number): Array<Pick<NewEvent, 'type' | 'entity'>> {
  return Array.from({ length: count }, (_, index) => ({ type, entity: `${type}_${index}` }))
}

/** A backend that answers when it is told to. */
async function startHolding() {
  const held: ServerResponse[] = []
  const http = createServer((request, response) => {
    request.resume()
    request.on('end', () => held.push(response))
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  keep.after(async () => {
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
  })
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`, held }
}

/** An event of ten days ago that went nowhere. */
async function makeOld(type: string): Promise<string> {
  offsetMs -= 10 * dayMs
  await happen([{ type, entity: 'old' }])
  offsetMs += 10 * dayMs
  const { body } = await server.api.call<{ data: Array<{ id: string }> }>(
    'GET',
    `/webhooks/events?type=${type}`,
  )
  return body.data[0]?.id ?? ''
}

const replay = (id: string) => server.api.call('POST', `/webhooks/events/${id}/replay`)

async function deliveryOf(id: string): Promise<EventDetail['deliveries'][number] | undefined> {
  return (await server.api.call<EventDetail>('GET', `/webhooks/events/${id}`)).body.deliveries[0]
}

const entitiesOf = (receiver: Receiver) => receiver.events.map(({ body }) => body.entity)

describe('an ordered endpoint', () => {
  test('gets the events of an entity one after another; a failing entity holds up nobody else', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint({
      url: receiver.url,
      tenant_id: 'tenant_a',
      events: ['step.*'],
      ordered: true,
    })
    receiver.answerWith(500)
    await happen([{ type: 'step.one', entity: 'order_1' }])
    await until(() => receiver.events.length === 1)
    await until(async () => (await readEndpoint(endpoint.id)).health.failures_in_a_row === 1)
    receiver.answerWith(204)
    await happen([
      { type: 'step.two', entity: 'order_1' },
      { type: 'step.one', entity: 'order_2' },
      { type: 'step.two', entity: 'order_2' },
    ])
    await until(
      () => receiver.events.length >= 3,
      () => entitiesOf(receiver),
    )
    assert.deepEqual(entitiesOf(receiver), ['order_1', 'order_2', 'order_2'])
    offsetMs += 10_000
    await until(
      () => receiver.events.length >= 5,
      () => entitiesOf(receiver),
    )
    const ofFirst = receiver.events.filter(({ body }) => body.entity === 'order_1')
    assert.deepEqual(
      ofFirst.map(({ body }) => body.event),
      ['step.one', 'step.one', 'step.two'],
    )
  })
})

describe('limits of an endpoint', () => {
  test('never more calls at the same time than it allows, over all tenants', async () => {
    const holding = await startHolding()
    await makeEndpoint({ url: holding.url, product_id: 'shop', events: ['few.*'], max_in_flight: 2 })
    for (const tenantId of ['tenant_a', 'tenant_b']) await happen(manyOf('few.thing', 5), tenantId)
    for (let answered = 0; answered < 10; answered += 1) {
      await until(() => holding.held.length > 0)
      assert.ok(holding.held.length <= 2, `${holding.held.length} at the same time`)
      holding.held.shift()?.writeHead(204).end()
    }
  })

  test('never faster than it allows', async () => {
    const receiver = await startReceiver(keep)
    await makeEndpoint({
      url: receiver.url,
      tenant_id: 'tenant_a',
      events: ['slow.*'],
      max_per_second: 20,
    })
    const startedAt = performance.now()
    await happen(manyOf('slow.thing', 12))
    await until(() => receiver.events.length === 12)
    // Two may start at once; each of the others waits for its twentieth of a second.
    assert.ok(performance.now() - startedAt >= (10 / 20) * 1000 - 50)
  })

  test('a tenant with a backlog holds up no other tenant at an endpoint of their product', async () => {
    const holding = await startHolding()
    await makeEndpoint({ url: holding.url, product_id: 'shop', events: ['busy.*'], max_in_flight: 4 })
    await happen(manyOf('busy.thing', 300), 'tenant_a')
    await until(() => holding.held.length === 4)
    await happen(manyOf('busy.thing', 1), 'tenant_b')
    const { database } = server.server.context
    const openOfB = async () => {
      const rows = await database.system
        .selectFrom('work')
        .select('id')
        .where('tenant_id', '=', 'tenant_b')
        .where('kind', '=', 'delivery')
        .execute()
      return rows.length
    }
    let answered = 0
    while ((await openOfB()) > 0) {
      await until(() => holding.held.length > 0)
      holding.held.shift()?.writeHead(204).end()
      answered += 1
      assert.ok(answered < 60, 'the other tenant waits behind the backlog')
      await sleep(2)
    }
  })

  test('every event carries its number in the endpoint’s sequence, the same when it comes again', async () => {
    const receiver = await startReceiver(keep)
    await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['counted.*'] })
    receiver.answerWith(500)
    await happen(manyOf('counted.thing', 1))
    await until(() => receiver.events.length === 1)
    receiver.answerWith(204)
    await happen(manyOf('counted.thing', 9))
    await until(() => receiver.events.length >= 10)
    offsetMs += 10_000
    await until(() => receiver.events.length >= 11)
    const numbers = receiver.events.map(({ headers }) => Number(headers['webhook-sequence']))
    assert.deepEqual(
      [...new Set(numbers)].toSorted((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    )
    assert.equal(numbers.at(-1), 1)
  })
})

describe('an endpoint that fails', () => {
  test('is left alone after five failures, tried with one event, then catches up by itself', async () => {
    const receiver = await startReceiver(keep)
    const watcher = await startReceiver(keep)
    await makeEndpoint({ url: watcher.url, product_id: 'shop', events: ['endpoint.*'] })
    const endpoint = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['down.*'] })
    receiver.answerWith(500)
    await happen(manyOf('down.thing', 5))
    const stateOf = async () => (await readEndpoint(endpoint.id)).health.state
    await until(async () => (await stateOf()) === 'open')
    const calls = receiver.events.length
    await happen(manyOf('down.more', 20))
    offsetMs += 20_000
    const { context } = server.server
    const leased = () =>
      context.database.system
        .selectFrom('work')
        .select('id')
        .where('series', '=', endpoint.id)
        .where('token', 'is not', null)
        .execute()
    await until(async () => (await leased()).length === 0)
    assert.equal(receiver.events.length, calls)
    receiver.answerWith(204)
    offsetMs += 15_000
    await until(
      () => receiver.events.length === calls + 25,
      () => receiver.events.length,
    )
    assert.notEqual(await stateOf(), 'open')
    const told = await watcher.waitFor(({ body }) => body.event === 'endpoint.recovered')
    assert.deepEqual([told.body.endpoint_id, told.body.tenant_id], [endpoint.id, 'tenant_a'])
    await happen(manyOf('down.new', 1))
    await until(async () => (await stateOf()) === 'healthy')
  })

  test('keeps its pause and its slow catch-up when its limits change', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['limited.*'] })
    const change = (limits: object) => server.api.call('PATCH', `/webhooks/endpoints/${endpoint.id}`, limits)
    const limits = async () => {
      const row = await server.server.context.database.system
        .selectFrom('work_series')
        .selectAll()
        .where('series', '=', endpoint.id)
        .executeTakeFirstOrThrow()
      return [row.paused_until !== null, row.most_running, row.per_second]
    }
    const stateOf = async () => (await readEndpoint(endpoint.id)).health.state
    receiver.answerWith(500)
    await happen(manyOf('limited.thing', 5))
    await until(async () => (await stateOf()) === 'open')
    await change({ max_in_flight: 3 })
    assert.deepEqual(await limits(), [true, 1, null])
    receiver.answerWith(204)
    offsetMs += 35_000
    await until(async () => (await stateOf()) === 'catching_up')
    assert.deepEqual(await limits(), [false, 3, 50])
    await change({ max_per_second: 200 })
    assert.deepEqual(await limits(), [false, 3, 50])
    await change({ max_per_second: 60 })
    await happen(manyOf('limited.new', 1))
    await until(async () => (await stateOf()) === 'healthy')
    assert.deepEqual(await limits(), [false, 3, 60])
  })

  test('is reported on the way and disabled at the end', async () => {
    const receiver = await startReceiver(keep)
    const watcher = await startReceiver(keep)
    await makeEndpoint({ url: watcher.url, product_id: 'shop', events: ['endpoint.*'] })
    const endpoint = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['gone.*'] })
    receiver.answerWith(500)
    const fail = async () => {
      const before = await readEndpoint(endpoint.id)
      await happen(manyOf('gone.thing', 1))
      await until(async () => {
        const { active, health } = await readEndpoint(endpoint.id)
        return !active || health.failures_in_a_row > before.health.failures_in_a_row
      })
    }
    await fail()
    offsetMs += 3 * 24 * 3_600_000
    await fail()
    const warned = await watcher.waitFor(
      ({ body }) => body.event === 'endpoint.failing' && body.endpoint_id === endpoint.id,
    )
    assert.equal(warned.body.percent, 50)
    offsetMs += 3 * 24 * 3_600_000
    await fail()
    await watcher.waitFor(
      ({ body }) => body.event === 'endpoint.disabled' && body.endpoint_id === endpoint.id,
    )
    const { active, disabled_reason: reason } = await readEndpoint(endpoint.id)
    assert.equal(active, false)
    assert.match(reason ?? '', /failed for 5 days; the last time: HTTP 500/)
  })

  test('is tried with one event alone, however many tenants wait', async () => {
    const tenants = ['tenant_c', 'tenant_d', 'tenant_e', 'tenant_f', 'tenant_g', 'tenant_h']
    for (const id of tenants) await server.api.call('POST', '/tenants', { id, product_id: 'shop', name: id })
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint({ url: receiver.url, product_id: 'shop', events: ['probe.*'] })
    receiver.answerWith(500)
    await happen(manyOf('probe.first', 5), 'tenant_c')
    await until(async () => (await readEndpoint(endpoint.id)).health.state === 'open')
    for (const id of tenants) await happen(manyOf('probe.more', 5), id)
    const before = receiver.events.length
    offsetMs += 31_000
    await until(() => receiver.events.length > before)
    await sleep(500)
    assert.equal(receiver.events.length, before + 1)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('that asks to be called again at once is not called without end', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['hasty.*'] })
    receiver.answerWith(429, { 'retry-after': '0' })
    await happen(manyOf('hasty.thing', 5))
    await until(() => receiver.events.length >= 5)
    await sleep(900)
    assert.ok(receiver.events.length <= 10, String(receiver.events.length))
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('whose events can not be read now is left alone for seconds, and no attempt is used up', async () => {
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['unread.*'] })
    const owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
    await owner.connect()
    await owner.query('revoke select on events from pipecore_system')
    await happen([{ type: 'unread.thing', entity: 'one' }])
    await until(async () => {
      const { rows } = await owner.query<{ run_at: Date; attempts: number }>(
        'select run_at, attempts from work where series = $1 and lease_until is null',
        [id],
      )
      const waitsMs = (rows[0]?.run_at.getTime() ?? 0) - Date.now() - offsetMs
      return waitsMs > 1_000 && rows[0]?.attempts === 0
    })
    await owner.query('grant select on events to pipecore_system')
    await owner.end()
    offsetMs += 6_000
    wakeWork('delivery')
    const { body } = await receiver.waitFor(({ body: { event } }) => event === 'unread.thing')
    const attemptsOf = async () =>
      (await server.api.call<EventDetail>('GET', `/webhooks/events/${body.id}`)).body.deliveries[0]?.attempts
    await until(async () => (await attemptsOf())?.length === 1)
    assert.deepEqual(
      (await attemptsOf())?.map(({ attempt, outcome }) => [attempt, outcome]),
      [[1, 'delivered']],
    )
  })

  test('that can not be deleted whole is not deleted', async () => {
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['kept.*'] })
    const owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
    await owner.connect()
    await owner.query(`alter table work_series add constraint refused check (series <> '${id}') not valid`)
    assert.equal((await server.api.call('DELETE', `/webhooks/endpoints/${id}`)).status, 500)
    assert.equal((await readEndpoint(id)).active, true)
    await owner.query('alter table work_series drop constraint refused')
    await owner.end()
    assert.equal((await server.api.call('DELETE', `/webhooks/endpoints/${id}`)).status, 204)
    assert.equal((await server.api.call('GET', `/webhooks/endpoints/${id}`)).status, 404)
  })

  test('one that asks for patience gets it, and no attempt is used up', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['patient.*'] })
    receiver.answerWith(429, { 'retry-after': '60' })
    await happen(manyOf('patient.thing', 1))
    const eventOf = async () => {
      const path = '/webhooks/events?type=patient.thing'
      const { body } = await server.api.call<{ data: Array<{ id: string }> }>('GET', path)
      return (await server.api.call<EventDetail>('GET', `/webhooks/events/${body.data[0]?.id}`)).body
    }
    const attemptsOf = async () => (await eventOf()).deliveries[0]?.attempts ?? []
    await until(async () => (await attemptsOf()).length === 1)
    await happen(manyOf('patient.later', 1))
    offsetMs += 30_000
    receiver.answerWith(204)
    offsetMs += 40_000
    await until(async () => (await attemptsOf()).length === 2)
    assert.deepEqual(
      (await attemptsOf()).map(({ attempt, outcome }) => [attempt, outcome]),
      [
        [1, 'throttled'],
        [1, 'delivered'],
      ],
    )
    assert.equal((await readEndpoint(endpoint.id)).health.failures_in_a_row, 0)
  })

  test('one that asks for patience gets it for three days since the first attempt, however old the event', async () => {
    const event = await makeOld('aged.thing')
    const receiver = await startReceiver(keep)
    const { id } = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['aged.*'] })
    receiver.answerWith(429, { 'retry-after': '60' })
    assert.equal((await replay(event)).status, 202)
    const attempts = (count: number) =>
      until(
        async () => (await deliveryOf(event))?.attempts.length === count,
        () => receiver.events.length,
      )
    await attempts(1)
    offsetMs += 2.9 * dayMs
    await attempts(2)
    assert.equal((await deliveryOf(event))?.state, 'pending')
    offsetMs += 0.2 * dayMs
    await attempts(3)
    assert.equal((await deliveryOf(event))?.state, 'dead')
    await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  })

  test('one that is switched off keeps what waits for three days, however old the event', async () => {
    const receiver = await startReceiver(keep)
    const event = await makeOld('parked.thing')
    const { id } = await makeEndpoint({ url: receiver.url, tenant_id: 'tenant_a', events: ['parked.*'] })
    receiver.answerWith(500)
    await replay(event)
    await until(async () => (await deliveryOf(event))?.attempts.length === 1)
    await server.api.call('PATCH', `/webhooks/endpoints/${id}`, { active: false })
    const waits = () =>
      until(
        async () => Date.parse((await deliveryOf(event))?.next_attempt_at ?? '') > now().getTime() + 60_000,
      )
    offsetMs += 10_000
    await waits()
    offsetMs += 2.9 * dayMs
    await waits()
    offsetMs += 0.2 * dayMs
    await until(async () => (await deliveryOf(event))?.state === 'dead')
    assert.match((await deliveryOf(event))?.attempts.at(-1)?.error ?? '', /switched off for too long/)
    await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  })
})
