import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import type { TestApi } from '../../../testing/api.ts'
import { type Receiver, startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Feed } from '../feed/schema.ts'
import type { CatalogDetail, EndpointWithSecret, EventDetail } from '../schema.ts'
import { postEndpoint, until } from '../testing.ts'

interface Problem {
  code: string
  errors?: Array<{ field: string; message: string }>
}
type Published = Problem & { id: string; data: Array<{ id: string }> }

/** In version 1 an amount was a text. */
const schemas: Record<number, object> = {
  1: { type: 'object', properties: { amount: { type: 'string' } }, required: ['amount'] },
  2: { type: 'object', properties: { amount: { type: 'integer' } }, required: ['amount'] },
  3: { type: 'object', properties: { total: { type: 'integer' } }, required: ['total'] },
}

let server: TestServer
let own: TestApi
let tenant: TestApi
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  for (const id of ['a', 'b']) {
    await server.api.call('POST', '/products', { id: `product_${id}`, name: id })
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: `product_${id}`, name: id })
  }
  own = await callerWith('/products/product_a/keys')
  tenant = await callerWith('/tenants/tenant_a/keys')
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function callerWith(path: string): Promise<TestApi> {
  return server.api.as((await server.api.call<{ key: string }>('POST', path, {})).body.key)
}

/** Version 1 with a promise, and version 2 beside it. */
async function register(type: string): Promise<void> {
  await save(type, 1, { supported: true })
  await save(type, 2)
}

async function save(type: string, version: number, more: object = {}): Promise<CatalogDetail> {
  const answer = await own.call<CatalogDetail>('PUT', `/webhooks/catalog/${type}`, {
    version,
    schema: schemas[version],
    ...more,
  })
  assert.ok(answer.status < 300, JSON.stringify(answer.body))
  return answer.body
}

async function publish(body: object): Promise<string> {
  const answer = await own.call<Published>('POST', '/events', { tenant_id: 'tenant_a', ...body })
  assert.equal(answer.status, 202, JSON.stringify(answer.body))
  return answer.body.id
}

async function refusalOf(body: object): Promise<Record<string, string>> {
  const answer = await own.call<Published>('POST', '/events', body)
  assert.deepEqual([answer.status, answer.body.code], [422, 'request_invalid'])
  return Object.fromEntries((answer.body.errors ?? []).map(({ field, message }) => [field, message]))
}

/** In both shapes. */
const both = (type: string, amount = 5) => ({
  type,
  data: { amount },
  older: { 1: { amount: `${amount}.00` } },
})

const makeEndpoint = (receiver: Receiver, more: object, api: TestApi = tenant) =>
  postEndpoint(api, { url: receiver.url, tenant_id: 'tenant_a', ...more })

const change = (id: string, versions: object, api: TestApi = tenant) =>
  api.call<Problem & EndpointWithSecret>('PATCH', `/webhooks/endpoints/${id}`, { versions })

async function readEvent(id: string): Promise<EventDetail> {
  return (await own.call<EventDetail>('GET', `/webhooks/events/${id}`)).body
}

/** Until what the dispatcher knows of the endpoint is not older than its pin. */
async function untilSent(receiver: Receiver, type: string, version: number): Promise<void> {
  await until(async () => {
    const id = await publish(both(type))
    const { headers } = await receiver.waitFor(({ body }) => body.id === id)
    return headers['webhook-version'] === String(version)
  })
}

/** Under which versions an event came, in turn. */
function versionsOf(receiver: Receiver, id: string): unknown[] {
  return receiver.events.filter(({ body }) => body.id === id).map(({ headers }) => headers['webhook-version'])
}

describe('an endpoint', () => {
  test('is sent the version it pins, signed; one without a pin what was published', async () => {
    await register('order.paid')
    const [old, plain] = [await startReceiver(keep), await startReceiver(keep)]
    const pinned = await makeEndpoint(old, { events: ['order.paid'], versions: { 'order.paid': 1 } })
    await makeEndpoint(plain, { events: ['order.paid'] })
    assert.deepEqual(pinned.versions, { 'order.paid': 1 })
    const id = await publish(both('order.paid'))
    const older = await old.waitFor(({ body }) => body.id === id)
    const newest = await plain.waitFor(({ body }) => body.id === id)
    assert.deepEqual([older.headers['webhook-version'], older.body.amount], ['1', '5.00'])
    assert.deepEqual([newest.headers['webhook-version'], newest.body.amount], ['2', 5])
    assert.deepEqual({ ...older.body, amount: 5 }, newest.body)
    new Webhook(pinned.secret ?? '').verify(older.text, older.headers as Record<string, string>)
    const event = await readEvent(id)
    assert.deepEqual([event.version, event.body?.amount, event.older['1']?.amount], [2, 5, '5.00'])
  })

  test('gets the same bytes at every attempt, at a replay and in its feed', async () => {
    await register('order.sent')
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint(receiver, { events: ['order.sent'], versions: { 'order.sent': 1 } })
    receiver.answerWith(500)
    const id = await publish(both('order.sent'))
    await until(() => receiver.events.length === 1)
    receiver.answerWith(204)
    offsetMs += 60_000
    await until(() => receiver.events.length === 2)
    await own.call('POST', `/webhooks/events/${id}/replay`, { endpoint_id: endpoint.id })
    await until(() => receiver.events.length === 3)
    assert.equal(new Set(receiver.events.map(({ text }) => text)).size, 1)
    const { body: feed } = await tenant.call<Feed>('GET', `/webhooks/endpoints/${endpoint.id}/events?after=0`)
    assert.deepEqual(
      feed.data.map(({ version, body }) => [version, body?.amount]),
      [
        [1, '5.00'],
        [1, '5.00'],
      ],
    )
  })

  test('follows its pin at the next attempt, whatever it was when the event came', async () => {
    await register('order.packed')
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint(receiver, { events: ['order.packed'] })
    const id = await publish(both('order.packed'))
    await receiver.waitFor(({ body }) => body.id === id)
    assert.equal((await change(endpoint.id, { 'order.packed': 1 })).status, 200)
    await untilSent(receiver, 'order.packed', 1)
    await own.call('POST', `/webhooks/events/${id}/replay`, {})
    await until(() => versionsOf(receiver, id).length === 2)
    assert.deepEqual((await change(endpoint.id, { 'order.packed': null })).body.versions, {})
    await untilSent(receiver, 'order.packed', 2)
    await own.call('POST', `/webhooks/events/${id}/replay`, {})
    await until(() => versionsOf(receiver, id).length === 3)
    assert.deepEqual(versionsOf(receiver, id), ['2', '1', '2'])
  })

  test('is filtered by what was published, whatever it pins', async () => {
    await register('order.eaten')
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint(receiver, {
      events: ['order.eaten'],
      versions: { 'order.eaten': 1 },
      filter: { amount: { $gte: 10 } },
    })
    const small = await publish(both('order.eaten', 5))
    const large = await publish(both('order.eaten', 50))
    assert.equal((await receiver.waitFor(({ body }) => body.id === large)).body.amount, '50.00')
    for (const [id, matches] of [
      [small, false],
      [large, true],
    ]) {
      const path = `/webhooks/endpoints/${endpoint.id}/filter/test`
      const answer = await tenant.call<{ matches: boolean }>('POST', path, { event_id: id })
      assert.equal(answer.body.matches, matches)
    }
    assert.deepEqual((await readEvent(small)).deliveries, [])
  })

  test('is never sent another shape: what has none is dead with the reason, and sent once the pin is gone', async () => {
    await save('order.lost', 1)
    await save('order.lost', 2)
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint(receiver, { events: ['order.lost'] })
    receiver.answerWith(500)
    const id = await publish({ type: 'order.lost', data: { amount: 5 } })
    await until(() => receiver.events.length === 1)
    await save('order.lost', 1, { supported: true })
    await change(endpoint.id, { 'order.lost': 1 })
    receiver.answerWith(204)
    await untilSent(receiver, 'order.lost', 1)
    offsetMs += 60_000
    await until(async () => (await readEvent(id)).deliveries[0]?.state === 'dead')
    const [delivery] = (await readEvent(id)).deliveries
    assert.match(delivery?.attempts.at(-1)?.error ?? '', /pins version 1 of order\.lost.*version 2/)
    const { body: feed } = await tenant.call<Feed>('GET', `/webhooks/endpoints/${endpoint.id}/events?after=0`)
    const entry = feed.data.find(({ event_id: eventId }) => eventId === id)
    assert.deepEqual([entry?.state, entry?.version, entry?.body], ['dead', null, null])
    assert.deepEqual(versionsOf(receiver, id), ['2'])
    await change(endpoint.id, { 'order.lost': null })
    await own.call('POST', `/webhooks/events/${id}/replay`, {})
    await until(() => versionsOf(receiver, id).length === 2)
    assert.deepEqual(versionsOf(receiver, id), ['2', '2'])
  })
})

describe('a pin is refused', () => {
  const refused: Array<[name: string, versions: object, field: string]> = [
    ['of a version that is not supported', { 'order.bound': 2 }, 'versions.order.bound'],
    ['of a version that is not there', { 'order.bound': 7 }, 'versions.order.bound'],
    ['of a type that is not there', { 'order.none': 1 }, 'versions.order.none'],
    ['of a type of another product', { 'order.theirs': 1 }, 'versions.order.theirs'],
    [
      'of a version that PipeCore’s own type never had',
      { 'message.delivered': 2 },
      'versions.message.delivered',
    ],
    ['of a version of nought', { 'order.bound': 0 }, 'versions.order.bound'],
    ['of a noun', { 'order.*': 1 }, 'versions.order.*'],
  ]
  before(async () => {
    await register('order.bound')
    const stranger = await callerWith('/products/product_b/keys')
    const theirs = { version: 1, schema: schemas[1], supported: true }
    await stranger.call('PUT', '/webhooks/catalog/order.theirs', theirs)
  })

  for (const [name, versions, field] of refused) {
    test(name, async () => {
      const receiver = await startReceiver(keep)
      const endpoint = { url: receiver.url, tenant_id: 'tenant_a', versions }
      const made = await tenant.call<Problem>('POST', '/webhooks/endpoints', endpoint)
      const plain = await makeEndpoint(receiver, { events: ['order.none'] })
      const changed = await change(plain.id, { 'order.bound': 1, ...versions })
      for (const { status, body } of [made, changed]) {
        assert.deepEqual(
          [status, body.code, body.errors?.map((error) => error.field)],
          [422, 'request_invalid', [field]],
        )
      }
      const { body: read } = await tenant.call<EndpointWithSecret>('GET', `/webhooks/endpoints/${plain.id}`)
      assert.deepEqual(read.versions, {})
    })
  }

  test('beyond a hundred types, also one after another', async () => {
    const receiver = await startReceiver(keep)
    const { body: catalog } = await own.call<{ data: Array<{ name: string; product_id: string | null }> }>(
      'GET',
      '/webhooks/catalog',
    )
    const ours = catalog.data.filter((entry) => entry.product_id === null).map(({ name }) => [name, 1])
    const many = Array.from({ length: 60 }, (_, index) => `full.${'a'.repeat(index + 1)}`)
    for (const name of many) await save(name, 1, { supported: true })
    const endpoint = await makeEndpoint(receiver, {
      versions: Object.fromEntries(many.map((name) => [name, 1])),
    })
    const rest = ours.slice(0, 100 - many.length)
    assert.equal(rest.length, 40)
    assert.equal((await change(endpoint.id, Object.fromEntries(rest))).status, 200)
    const one = await change(endpoint.id, { 'order.bound': 1 })
    assert.deepEqual([one.status, one.body.errors?.map(({ field }) => field)], [422, ['versions']])
  })
})

describe('a publish', () => {
  before(() => register('bill.paid'))

  test('has to give every supported older version, whether anybody pins it or not', async () => {
    const event = { tenant_id: 'tenant_a', type: 'bill.paid', data: { amount: 5 } }
    const message = (await refusalOf(event))['older.1'] ?? ''
    assert.match(message, /version 1 of bill\.paid is supported/)
    const batch = await refusalOf({ events: [{ ...event, ...both('bill.paid') }, event] })
    assert.deepEqual(Object.keys(batch), ['events.1.older.1'])
    await publish({ ...event, version: 1, data: { amount: '5.00' } })
  })

  test('is told every fault of every shape', async () => {
    const older = { 1: { amount: 7 }, 2: { amount: 5 }, 3: { total: 5 }, 9: {}, first: {} }
    const event = { tenant_id: 'tenant_a', type: 'bill.paid', data: { amount: 'x' } }
    assert.deepEqual(Object.keys(await refusalOf({ ...event, older })), ['older.first'])
    const { first: _, ...numbered } = older
    assert.deepEqual(Object.keys(await refusalOf({ ...event, older: numbered })).toSorted(), [
      'data.amount',
      'older.1.amount',
      'older.2',
      'older.3',
      'older.9',
    ])
    await save('bill.paid', 3)
    const unknown = await refusalOf({
      ...event,
      version: 3,
      data: { total: 1 },
      older: { 1: { amount: '1' }, 2: {} },
    })
    assert.deepEqual(Object.keys(unknown), ['older.2.amount'])
    const newest = await refusalOf({ ...event, data: { total: 1 }, older: { 1: { amount: '1', id: 'x' } } })
    assert.deepEqual(Object.keys(newest), ['older.1.id'])
  })

  test('holds 256 KiB of older shapes at most', async () => {
    const older = { 1: { amount: 'a'.repeat(262_144) } }
    const faults = await refusalOf({
      tenant_id: 'tenant_a',
      type: 'bill.paid',
      version: 2,
      data: { amount: 1 },
      older,
    })
    assert.deepEqual(Object.keys(faults), ['older'])
  })
})

describe('a version that is withdrawn', () => {
  test('leaves its endpoints with what is published, tells them, and blocks no publish', async () => {
    await register('table.left')
    const [receiver, told] = [await startReceiver(keep), await startReceiver(keep)]
    const endpoint = await makeEndpoint(receiver, { events: ['table.left'], versions: { 'table.left': 1 } })
    await makeEndpoint(told, { events: ['endpoint.version_withdrawn'] })
    assert.equal(
      (await refusalOf({ tenant_id: 'tenant_a', type: 'table.left', data: { amount: 1 } }))['data'],
      undefined,
    )
    assert.equal((await save('table.left', 1, { supported: false })).supported, false)
    const notice = await told.waitFor(({ body }) => body['endpoint_id'] === endpoint.id)
    const { event, type, version, newest_version: newest, tenant_id: tenantId } = notice.body
    assert.deepEqual(
      [event, type, version, newest, tenantId],
      ['endpoint.version_withdrawn', 'table.left', 1, 2, 'tenant_a'],
    )
    const { body: read } = await tenant.call<EndpointWithSecret>('GET', `/webhooks/endpoints/${endpoint.id}`)
    assert.deepEqual(read.versions, {})
    const id = await publish({ type: 'table.left', data: { amount: 5 } })
    const received = await receiver.waitFor(({ body }) => body.id === id)
    assert.equal(received.headers['webhook-version'], '2')
    assert.equal((await change(endpoint.id, { 'table.left': 1 })).status, 422)
  })

  test('buries nothing that is published right after', async () => {
    await register('table.freed')
    const receiver = await startReceiver(keep)
    const endpoint = await makeEndpoint(receiver, { events: ['table.freed'] })
    const ids: string[] = []
    for (let round = 0; round < 4; round += 1) {
      await save('table.freed', 1, { supported: true })
      await change(endpoint.id, { 'table.freed': 1 })
      // The dispatcher goes on believing for a moment what it has just read.
      await untilSent(receiver, 'table.freed', 1)
      await untilSent(receiver, 'table.freed', 1)
      await save('table.freed', 1, { supported: false })
      for (let nth = 0; nth < 5; nth += 1)
        ids.push(await publish({ type: 'table.freed', data: { amount: nth } }))
    }
    for (const id of ids) {
      await receiver.waitFor(({ body }) => body.id === id)
      assert.deepEqual(versionsOf(receiver, id), ['2'])
    }
  })

  test('with its type is told too; other pins stay', async () => {
    await register('menu.changed')
    await register('menu.printed')
    const [receiver, told] = [await startReceiver(keep), await startReceiver(keep)]
    const versions = { 'menu.changed': 1, 'menu.printed': 1 }
    const endpoint = await makeEndpoint(
      receiver,
      { product_id: 'product_a', tenant_id: undefined, versions },
      own,
    )
    await makeEndpoint(told, { product_id: 'product_a', tenant_id: undefined, events: ['endpoint.*'] }, own)
    await own.call('DELETE', '/webhooks/catalog/menu.changed')
    const notice = await told.waitFor(({ body }) => body['endpoint_id'] === endpoint.id)
    assert.deepEqual([notice.body['newest_version'], notice.body.tenant_id], [null, null])
    const { body: read } = await own.call<EndpointWithSecret>('GET', `/webhooks/endpoints/${endpoint.id}`)
    assert.deepEqual(read.versions, { 'menu.printed': 1 })
  })

  test('is shown in the catalogue, as those that are supported', async () => {
    await register('seat.taken')
    const read = async () =>
      (await tenant.call<CatalogDetail>('GET', '/webhooks/catalog/seat.taken?version=1')).body
    assert.deepEqual([(await read()).supported, (await read()).supported_versions], [true, [1]])
    await save('seat.taken', 1)
    assert.equal((await read()).supported, true, 'a registration that says nothing changes nothing')
    await save('seat.taken', 1, { supported: false })
    assert.deepEqual([(await read()).supported, (await read()).supported_versions], [false, []])
  })

  test('and pinned at the same moment is pinned by nobody', async () => {
    await register('race.run')
    const receiver = await startReceiver(keep)
    const ids: string[] = []
    for (let nth = 0; nth < 12; nth += 1)
      ids.push((await makeEndpoint(receiver, { events: ['race.none'] })).id)
    const answers = await Promise.all([
      ...ids.map((id) => change(id, { 'race.run': 1 })),
      save('race.run', 1, { supported: false }).then(() => ({ status: 200 })),
    ])
    assert.ok(answers.every(({ status }) => status === 200 || status === 422))
    for (const id of ids) {
      const { body } = await tenant.call<EndpointWithSecret>('GET', `/webhooks/endpoints/${id}`)
      assert.deepEqual(body.versions, {})
    }
  })

  test('makes room: a type supports twenty versions', async () => {
    for (let version = 1; version <= 21; version += 1) {
      const body = { version, schema: { type: 'object' }, supported: true }
      const { status, body: answer } = await own.call<Problem>('PUT', '/webhooks/catalog/long.lived', body)
      if (version <= 20) assert.equal(status, 201)
      else assert.deepEqual([status, answer.code], [409, 'too_many_supported'])
    }
    await own.call('PUT', '/webhooks/catalog/long.lived', {
      version: 1,
      schema: { type: 'object' },
      supported: false,
    })
    const body = { version: 21, schema: { type: 'object' }, supported: true }
    assert.equal((await own.call('PUT', '/webhooks/catalog/long.lived', body)).status, 201)
  })
})
