import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createTraceId } from '#core/trace.ts'
import type { TestApi } from '../../../testing/api.ts'
import { type Receiver, startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import type { Endpoint, EventDetail } from '../schema.ts'
import { postEndpoint, recordFacts } from '../testing.ts'

interface Problem {
  code: string
  errors?: Array<{ field: string }>
}

interface Tried {
  matches: boolean
  failed: Array<{ field: string; expected: unknown }>
}

let server: TestServer
let receiver: Receiver
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep)
  await server.api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  for (const id of ['tenant_a', 'tenant_b'])
    await server.api.call('POST', '/tenants', { id, product_id: 'shop', name: id })
  receiver = await startReceiver(keep)
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

const makeEndpoint = (filter?: unknown, events = ['order.*']) =>
  postEndpoint<Endpoint>(server.api, { url: receiver.url, tenant_id: 'tenant_a', events, filter })

/** @returns the events with their deliveries, in order. */
async function happen(type: string, facts: readonly object[]): Promise<EventDetail[]> {
  const scope = { tenantId: 'tenant_a', productId: 'shop', traceId: createTraceId() }
  const numbered = facts.map((fact, place) => ({ type, entity: scope.traceId, data: { ...fact, place } }))
  await recordFacts(server.server.context, scope, numbered)
  const path = `/webhooks/events?entity=${scope.traceId}`
  const { body } = await server.api.call<{ data: Array<{ id: string }> }>('GET', path)
  const told = await Promise.all(body.data.map(({ id }) => readEvent(id)))
  return told.toSorted((left, right) => Number(left.body?.place) - Number(right.body?.place))
}

async function readEvent(id: string): Promise<EventDetail> {
  return (await server.api.call<EventDetail>('GET', `/webhooks/events/${id}`)).body
}

function targets(event: EventDetail | undefined): string[] {
  return (event?.deliveries ?? []).map((delivery) => delivery.endpoint_id)
}

function tryFilter(id: string, input: object, api: TestApi = server.api) {
  return api.call<Tried & Problem>('POST', `/webhooks/endpoints/${id}/filter/test`, input)
}

describe('an endpoint with a filter', () => {
  test('gets what matches; for the rest no delivery is made, at its fan-out or at a replay', async () => {
    const large = await makeEndpoint({ amount: { $gte: 10000 } })
    const all = await makeEndpoint()
    const [small, big] = await happen('order.paid', [{ amount: 9999 }, { amount: 10000 }])
    assert.deepEqual(targets(small), [all.id])
    assert.deepEqual(targets(big).toSorted(), [large.id, all.id].toSorted())
    await receiver.waitFor(({ body }) => body.id === big?.id)
    for (const event of [small, big])
      await server.api.call('POST', `/webhooks/events/${event?.id}/replay`, {})
    const countOf = (event: EventDetail, { id }: Endpoint) =>
      targets(event).filter((one) => one === id).length
    const [smallAgain, bigAgain] = [await readEvent(small?.id ?? ''), await readEvent(big?.id ?? '')]
    assert.deepEqual([countOf(smallAgain, large), countOf(smallAgain, all)], [0, 2])
    assert.deepEqual([countOf(bigAgain, large), countOf(bigAgain, all)], [2, 2])
    for (const { id } of [large, all]) await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  })

  test('never fails the fact, whatever is in its body', async () => {
    const endpoint = await makeEndpoint({ note: 'x' }, ['odd.*'])
    const [half, nul, odd] = await happen('odd.thing', [{ note: '\ud83d' }, { note: '\0' }, { note: [{}] }])
    assert.deepEqual([half, nul, odd].map(targets), [[endpoint.id], [endpoint.id], []])
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('never holds up the fact: a body too full of lists for it is delivered', async () => {
    const one = { $in: Array.from({ length: 99 }, (_, index) => index) }
    const endpoint = await makeEndpoint({ items: one }, ['full.*'])
    const items = Array.from({ length: 4000 }, () => -1)
    const began = performance.now()
    const [full, short] = await happen('full.thing', [{ items }, { items: items.slice(0, 10) }])
    assert.ok(performance.now() - began < 10_000)
    assert.deepEqual([targets(full), targets(short)], [[endpoint.id], []])
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('shows it, and changes or drops it', async () => {
    const filter = { customer: { country: ['CL', 'PE'] } }
    const { id, filter: shown } = await makeEndpoint(filter, ['change.*'])
    assert.deepEqual(shown, filter)
    const change = async (body: object) =>
      (await server.api.call<Endpoint>('PATCH', `/webhooks/endpoints/${id}`, body)).body.filter
    assert.deepEqual(await change({ events: ['change.it'] }), filter)
    assert.deepEqual(await change({ filter: { amount: 1 } }), { amount: 1 })
    assert.deepEqual((await happen('change.it', [{ amount: 2 }, { amount: 1 }])).map(targets), [[], [id]])
    assert.equal(await change({ filter: null }), null)
    assert.deepEqual((await happen('change.it', [{ amount: 2 }])).map(targets), [[id]])
  })

  test('that is none is refused with the place of every fault, and nothing is changed', async () => {
    const { id } = await makeEndpoint({ amount: 1 }, ['never.*'])
    const filter = { amount: { $near: 1, $gte: 1 }, $or: [{ note: {} }] }
    for (const [method, path, rest] of [
      ['POST', '/webhooks/endpoints', { url: receiver.url, tenant_id: 'tenant_a' }],
      ['PATCH', `/webhooks/endpoints/${id}`, { events: ['*'] }],
      ['POST', `/webhooks/endpoints/${id}/filter/test`, { body: {} }],
    ] as const) {
      const { status, body } = await server.api.call<Problem>(method, path, { ...rest, filter })
      assert.deepEqual([status, body.code], [422, 'request_invalid'])
      assert.deepEqual(
        body.errors?.map(({ field }) => field),
        ['filter.amount.$near', 'filter.$or.0.note'],
      )
    }
    const { body } = await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${id}`)
    assert.deepEqual([body.events, body.filter], [['never.*'], { amount: 1 }])
  })
})

describe('a filter is tried', () => {
  const filter = {
    amount: { $gte: 10000 },
    customer: { country: 'CL', tier: { $ne: 'free' } },
    items: { sku: 'A', quantity: 2 },
  }

  test('against a body, and says which conditions fail', async () => {
    const { id } = await makeEndpoint(filter, ['never.*'])
    const items = [
      { sku: 'A', quantity: 1 },
      { sku: 'B', quantity: 2 },
    ]
    const body = { amount: 5, customer: { country: 'CL', tier: 'free' }, items }
    assert.deepEqual((await tryFilter(id, { body })).body, {
      matches: false,
      failed: [
        { field: 'amount', expected: { $gte: 10000 } },
        { field: 'customer.tier', expected: { $ne: 'free' } },
        // Each of its conditions is fulfilled, but by different elements.
        { field: 'items', expected: { sku: 'A', quantity: 2 } },
      ],
    })
    const good = { amount: 10000, customer: { country: 'CL' }, items: [{ sku: 'A', quantity: 2 }] }
    assert.deepEqual((await tryFilter(id, { body: good })).body, { matches: true, failed: [] })
  })

  test('against a stored event, also before it is saved', async () => {
    const { id } = await makeEndpoint(undefined, ['stored.*'])
    const [event] = await happen('stored.thing', [{ amount: 5 }])
    assert.deepEqual((await tryFilter(id, { event_id: event?.id })).body, { matches: true, failed: [] })
    const candidate = { event_id: event?.id, filter: { tenant_id: 'tenant_a', amount: { $gt: 5 } } }
    assert.deepEqual((await tryFilter(id, candidate)).body.failed, [
      { field: 'amount', expected: { $gt: 5 } },
    ])
    assert.equal((await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${id}`)).body.filter, null)
  })

  test('on what this caller may see only', async () => {
    const { id } = await makeEndpoint(filter, ['secret.*'])
    const [event] = await happen('secret.thing', [{ amount: 5 }])
    const path = '/tenants/tenant_b/keys'
    const stranger = server.api.as((await server.api.call<{ key: string }>('POST', path, {})).body.key)
    assert.equal((await tryFilter(id, { body: {} }, stranger)).body.code, 'endpoint_not_found')
    const input = { url: receiver.url, tenant_id: 'tenant_b', events: ['never.*'] }
    const own = (await stranger.call<Endpoint>('POST', '/webhooks/endpoints', input)).body
    const answer = await tryFilter(own.id, { event_id: event?.id }, stranger)
    assert.deepEqual([answer.status, answer.body.code], [404, 'event_not_found'])
    assert.equal((await tryFilter(id, {})).status, 422)
    assert.equal((await tryFilter(id, { body: {}, event_id: event?.id })).status, 422)
  })
})
