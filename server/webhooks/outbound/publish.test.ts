import assert from 'node:assert/strict'
import { before, describe, test, type TestContext } from 'node:test'
import { type KyselyPlugin, sql } from 'kysely'
import pg from 'pg'
import { Webhook } from 'standardwebhooks'
import type { TestApi } from '../../testing/api.ts'
import { startReceiver } from '../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import type { EventDetail } from './schema.ts'

interface Answer {
  id: string
  data: Array<{ id: string }>
  code: string
  errors?: Array<{ field: string; message: string }>
}

const schema = {
  type: 'object',
  properties: { order_id: { type: 'string' }, amount: { type: 'integer' }, note: { type: 'string' } },
  required: ['order_id', 'amount'],
  additionalProperties: false,
}
const data = { order_id: 'ORD-1', amount: 15990 }
const paid = { tenant_id: 'tenant_a', type: 'order.paid', data }

let server: TestServer
let own: TestApi
let tenant: TestApi
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep)
  for (const id of ['a', 'b']) {
    await server.api.call('POST', '/products', { id: `product_${id}`, name: id })
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: `product_${id}`, name: id })
  }
  await server.api.call('POST', '/tenants', { id: 'tenant_a2', product_id: 'product_a', name: 'a2' })
  own = await callerWith('/products/product_a/keys')
  tenant = await callerWith('/tenants/tenant_a/keys')
  await own.call('PUT', '/webhooks/catalog/order.paid', { version: 1, schema })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function callerWith(path: string, body: object = {}): Promise<TestApi> {
  return server.api.as((await server.api.call<{ key: string }>('POST', path, body)).body.key)
}

function publish(body: unknown, api = own, headers: Record<string, string> = {}) {
  return api.call<Answer>('POST', '/events', body, headers)
}

async function countEvents(): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::int as count from events`.execute(
    server.server.context.database.system,
  )
  return rows[0]?.count ?? 0
}

/** The connection breaks once events are committed, or the first time before they come there. */
function loseAnswer(t: TestContext, when: 'after' | 'before' = 'after'): void {
  const { database } = server.server.context
  const whole = { ...database }
  const recordings = new WeakSet<object>()
  let isCut = when === 'before'
  const fail = () => {
    throw new Error('Connection terminated unexpectedly')
  }
  t.after(() => void Object.assign(database, whole))
  const losing: KyselyPlugin = {
    transformQuery: ({ node, queryId }) => {
      if (!JSON.stringify(node).includes('record_events(')) return node
      if (isCut) {
        isCut = false
        fail()
      }
      if (when === 'after') recordings.add(queryId)
      return node
    },
    transformResult: async ({ result, queryId }) => (recordings.has(queryId) ? fail() : result),
  }
  database.system = whole.system.withPlugin(losing)
  database.asSystemPipelined = (statement) =>
    whole.asSystemPipelined((db) => statement(db.withPlugin(losing)))
}

async function readEvent(id: string): Promise<EventDetail> {
  return (await own.call<EventDetail>('GET', `/webhooks/events/${id}`)).body
}

function hoursAhead(hours: number): string {
  return new Date(Date.now() + hours * 60 * 60 * 1000).toISOString()
}

function fieldsOf(answer: { body: Answer }): string[] {
  return (answer.body.errors ?? []).map(({ field }) => field)
}

describe('an event', () => {
  test('arrives signed at the endpoints that want it, flat, under the trace of the call', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = { url: receiver.url, tenant_id: 'tenant_a', events: ['order.*'] }
    const { body: made } = await own.call<{ secret: string; id: string }>(
      'POST',
      '/webhooks/endpoints',
      endpoint,
    )
    const traceId = '0c619ce35afe31c3fb0757fc8e8f06b3'
    const occurred = { occurred_at: '2026-11-29T09:30:00-03:00', entity: 'ORD-1' }
    const answer = await publish({ ...paid, ...occurred }, own, {
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    })
    assert.equal(answer.status, 202)
    const event = await receiver.waitFor((one) => one.body.id === answer.body.id)
    new Webhook(made.secret).verify(event.text, event.headers as Record<string, string>)
    assert.deepEqual(event.body, {
      id: answer.body.id,
      event: 'order.paid',
      tenant_id: 'tenant_a',
      occurred_at: '2026-11-29T12:30:00.000Z',
      trace_id: traceId,
      ...data,
    })
    assert.equal((await readEvent(answer.body.id)).entity, 'ORD-1')
    await own.call('DELETE', `/webhooks/endpoints/${made.id}`)
  })

  test('without entity and time is about itself, now', async () => {
    const { body } = await publish(paid)
    const event = await readEvent(body.id)
    assert.equal(event.entity, body.id)
    assert.ok(Math.abs(Date.parse(event.occurred_at) - Date.now()) < 60_000)
  })

  test('may have occurred long ago, and by its publisher’s clock tomorrow', async () => {
    for (const at of ['2000-01-01T01:00:00+01:00', hoursAhead(23)]) {
      const { status, body } = await publish({ ...paid, occurred_at: at })
      assert.equal(status, 202)
      assert.equal(Date.parse((await readEvent(body.id)).occurred_at), Date.parse(at))
    }
    assert.equal((await own.call('GET', '/webhooks/events')).status, 200)
  })

  test('may be published by a tenant’s key for itself and by an admin key', async () => {
    assert.equal((await publish(paid, tenant)).status, 202)
    assert.equal((await publish(paid, server.api)).status, 202)
  })

  test('of many callers at once is stored once each', async () => {
    const before = await countEvents()
    const answers = await Promise.all(Array.from({ length: 300 }, () => publish(paid)))
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]))
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 300)
    assert.equal(await countEvents(), before + 300)
  })

  for (const isDelivered of [false, true]) {
    const title = 'stored beside others is answered so where the answer of the database is lost'
    test(isDelivered ? `${title}, with its delivery` : title, async (t) => {
      if (isDelivered) {
        const endpoint = { url: 'http://127.0.0.1:9/', tenant_id: 'tenant_a', events: ['order.*'] }
        const { body: made } = await own.call<{ id: string }>('POST', '/webhooks/endpoints', endpoint)
        t.after(() => own.call('DELETE', `/webhooks/endpoints/${made.id}`))
      }
      const before = await countEvents()
      loseAnswer(t)
      const answers = await Promise.all(Array.from({ length: 20 }, () => publish(paid)))
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]))
      assert.equal(await countEvents(), before + 20)
      const events = await Promise.all(answers.map(({ body }) => readEvent(body.id)))
      const counts = new Set(events.map(({ deliveries }) => deliveries.length))
      assert.deepEqual(counts, new Set([isDelivered ? 1 : 0]))
    })
  }

  for (const when of ['after', 'before'] as const) {
    test(`alone is stored once where the connection breaks ${when} that`, async (t) => {
      const before = await countEvents()
      loseAnswer(t, when)
      const { status, body } = await publish(paid)
      assert.equal(status, 202)
      assert.equal((await readEvent(body.id)).id, body.id)
      assert.equal(await countEvents(), before + 1)
    })
  }
})

test('batches, and events that are refused together, do not wait behind each other', async (t) => {
  const { database } = server.server.context
  const whole = { ...database }
  t.after(() => void Object.assign(database, whole))
  const asked: string[] = []
  const refusing: KyselyPlugin = {
    transformQuery: ({ node }) => {
      const ids = new Set(JSON.stringify(node, readBytes).match(/evt_\w+/g))
      asked.push(...ids)
      if (ids.size > 1) throw Object.assign(new pg.DatabaseError('too slow', 0, 'error'), { code: '57014' })
      return node
    },
    transformResult: async ({ result }) => result,
  }
  database.asSystemPipelined = (statement) =>
    whole.asSystemPipelined((db) => statement(db.withPlugin(refusing)))
  const answers = await Promise.all(Array.from({ length: 40 }, () => publish(paid)))
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]))
  assert.equal((await publish({ events: [paid, paid] })).status, 202)
  assert.equal(asked.length, 40)
})

/** What goes out as bytes is no text in JSON. */
function readBytes(_name: string, value: { type?: string; data?: number[] } | null): unknown {
  return value?.type === 'Buffer' ? Buffer.from(value.data ?? []).toString('latin1') : value
}

describe('a batch', () => {
  test('is stored once where the answer of the database is lost', async (t) => {
    const before = await countEvents()
    loseAnswer(t)
    const { status, body } = await publish({ events: [paid, paid, paid] })
    assert.equal(status, 202)
    assert.equal(body.data.length, 3)
    assert.equal(await countEvents(), before + 3)
  })

  test('of several tenants is answered in its order', async () => {
    const events = Array.from({ length: 1_000 }, (_, index) => ({
      ...paid,
      tenant_id: index % 2 === 0 ? 'tenant_a' : 'tenant_a2',
      data: { ...data, amount: index },
    }))
    const { status, body } = await publish({ events })
    assert.equal(status, 202)
    assert.equal(body.data.length, 1_000)
    const last = await readEvent(body.data[999]?.id ?? '')
    assert.deepEqual([last.tenant_id, last.body?.amount], ['tenant_a2', 999])
  })

  test('of one entity arrives in its order where an endpoint asks for order', async () => {
    const receiver = await startReceiver(keep)
    const endpoint = { url: receiver.url, tenant_id: 'tenant_a2', ordered: true }
    const { body: made } = await own.call<{ id: string }>('POST', '/webhooks/endpoints', endpoint)
    const events = Array.from({ length: 20 }, () => ({ ...paid, tenant_id: 'tenant_a2', entity: 'ORD-1' }))
    const { body } = await publish({ events })
    const ids = body.data.map(({ id }) => id)
    await receiver.waitFor(() => receiver.events.length === ids.length)
    assert.deepEqual(
      receiver.events.map((event) => event.body.id),
      ids,
    )
    await own.call('DELETE', `/webhooks/endpoints/${made.id}`)
  })

  test('is refused whole, with every fault of every event', async () => {
    const before = await countEvents()
    const answer = await publish({
      events: [
        paid,
        { ...paid, data: { order_id: 1, plan: 'pro' } },
        { ...paid, tenant_id: 'tenant_b' },
        { ...paid, type: 'order.unknown' },
        { ...paid, version: 7 },
        { ...paid, colour: 'red', occurred_at: 'noon' },
        { ...paid, data: { ...data, id: 'evt_mine' } },
        'nothing',
        { ...paid, occurred_at: '1999-12-31T23:59:59Z' },
        { ...paid, occurred_at: hoursAhead(25) },
        { ...paid, data: [data] },
        { ...paid, data: undefined },
        { ...paid, older: { 1: null } },
      ],
    })
    assert.deepEqual([answer.status, answer.body.code], [422, 'request_invalid'])
    assert.deepEqual(fieldsOf(answer).toSorted(), [
      'events.1.data.amount',
      'events.1.data.order_id',
      'events.1.data.plan',
      'events.10.data',
      'events.11.data',
      'events.12.older.1',
      'events.2.tenant_id',
      'events.3.type',
      'events.4.version',
      'events.5.colour',
      'events.5.occurred_at',
      'events.6.data.id',
      'events.7',
      'events.8.occurred_at',
      'events.9.occurred_at',
    ])
    assert.equal(await countEvents(), before)
  })

  test('holds one to a thousand events and nothing beside them', async () => {
    assert.deepEqual(fieldsOf(await publish({ events: [] })), ['events'])
    assert.deepEqual(fieldsOf(await publish({ events: Array.from({ length: 1_001 }, () => paid) })), [
      'events',
    ])
    assert.deepEqual(fieldsOf(await publish({ events: paid })), ['events'])
    assert.deepEqual(fieldsOf(await publish({ events: [paid], tenant_id: 'tenant_a' })), ['tenant_id'])
  })
})

describe('an event is refused', () => {
  const refused: Array<[name: string, change: object, field: string]> = [
    ['whose body breaks its schema', { data: { ...data, amount: '15990' } }, 'data.amount'],
    ['whose type is in no catalogue', { type: 'order.eaten' }, 'type'],
    ['whose type is ours', { type: 'message.delivered' }, 'type'],
    ['whose type is no type', { type: 'order' }, 'type'],
    ['whose version was never registered', { version: 2 }, 'version'],
    ['that sets a field of the envelope', { data: { ...data, trace_id: 'x' } }, 'data.trace_id'],
    ['without data', { data: undefined }, 'data'],
    ['with a list as data', { data: [data] }, 'data'],
    ['with a time that is none', { occurred_at: '2026-13-01' }, 'occurred_at'],
    ['of the last century', { occurred_at: '2000-01-01T00:59:59+01:00' }, 'occurred_at'],
    ['before the first year', { occurred_at: '0000-01-01T00:00:00+14:00' }, 'occurred_at'],
    ['past the last year', { occurred_at: '9999-12-31T23:59:59-14:00' }, 'occurred_at'],
    ['of the day after tomorrow', { occurred_at: hoursAhead(25) }, 'occurred_at'],
    ['with an empty entity', { entity: '' }, 'entity'],
    ['without a tenant', { tenant_id: undefined }, 'tenant_id'],
    ['with half a character', { data: { ...data, note: '\ud83d' } }, 'data.note'],
    ['larger than 256 KiB', { data: { ...data, note: 'a'.repeat(262_144) } }, 'data'],
  ]
  for (const [name, change, field] of refused) {
    test(name, async () => {
      const answer = await publish({ ...paid, ...change })
      assert.deepEqual([answer.status, answer.body.code], [422, 'request_invalid'])
      assert.deepEqual(fieldsOf(answer), [field])
    })
  }

  test('with everything that is wrong with it at once', async () => {
    const answer = await publish({ ...paid, data: { order_id: 5, note: 1, plan: 'pro' } })
    assert.deepEqual(fieldsOf(answer).toSorted(), ['data.amount', 'data.note', 'data.order_id', 'data.plan'])
  })

  test('that is no JSON, is empty, holds NUL or is larger than 4 MiB', async () => {
    assert.equal((await publish('text')).body.code, 'request_invalid')
    assert.equal((await publish(undefined)).status, 422)
    assert.equal((await publish({ ...paid, entity: 'a\0' })).body.code, 'nul_character')
    const large = await publish({ ...paid, data: { note: 'a'.repeat(4 * 1024 * 1024) } })
    assert.deepEqual([large.status, large.body.code], [413, 'body_too_large'])
  })

  test('for a tenant that this key may not act for, as if there were none', async () => {
    const stranger = await callerWith('/products/product_b/keys')
    for (const api of [stranger, await callerWith('/tenants/tenant_b/keys'), tenant]) {
      const tenantId = api === tenant ? 'tenant_a2' : 'tenant_a'
      const answer = await publish({ ...paid, tenant_id: tenantId }, api)
      assert.deepEqual([answer.status, answer.body.code], [404, 'tenant_not_found'])
      const batch = await publish({ events: [{ ...paid, tenant_id: tenantId }] }, api)
      assert.deepEqual([batch.status, fieldsOf(batch)], [422, ['events.0.tenant_id']])
    }
    assert.equal((await publish({ ...paid, tenant_id: 'tenant_none' })).body.code, 'tenant_not_found')
  })

  test('of a type that only another product has', async () => {
    const stranger = await callerWith('/products/product_b/keys')
    assert.deepEqual(fieldsOf(await publish({ ...paid, tenant_id: 'tenant_b' }, stranger)), ['type'])
  })

  test('whose data is no object, though its schema allows anything', async () => {
    await own.call('PUT', '/webhooks/catalog/note.added', { version: 1, schema: {} })
    for (const given of [[data], null, 'text', 1, undefined]) {
      const answer = await publish({ ...paid, type: 'note.added', data: given })
      assert.deepEqual([answer.status, fieldsOf(answer)], [422, ['data']], JSON.stringify(given))
    }
  })

  test('from a key without the scope or a key that was just deleted', async () => {
    const poor = await callerWith('/products/product_a/keys', { scopes: ['webhooks:write'] })
    assert.equal((await publish(paid, poor)).body.code, 'scope_missing')
    const { body: made } = await server.api.call<{ key: string; id: string }>(
      'POST',
      '/products/product_a/keys',
      {
        scopes: ['events:write'],
      },
    )
    const rich = server.api.as(made.key)
    assert.equal((await publish(paid, rich)).status, 202)
    await server.api.call('DELETE', `/products/product_a/keys/${made.id}`)
    assert.equal((await publish(paid, rich)).body.code, 'key_unknown')
  })
})

describe('an Idempotency-Key', () => {
  const under = (key: string) => ({ 'idempotency-key': key })

  test('publishes once and answers the same, also when calls come at once', async () => {
    const before = await countEvents()
    const answers = await Promise.all(Array.from({ length: 20 }, () => publish(paid, own, under('once'))))
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]))
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1)
    assert.equal(await countEvents(), before + 1)
  })

  test('of a batch over several tenants does the same', async () => {
    const before = await countEvents()
    const events = [paid, { ...paid, tenant_id: 'tenant_a2' }]
    const [first, second] = await Promise.all([
      publish({ events }, own, under('batch')),
      publish({ events }, own, under('batch')),
    ])
    assert.equal(first.body.data.length, 2)
    assert.deepEqual(first.body, second.body)
    assert.equal(await countEvents(), before + 2)
    const turned = await publish({ events: events.toReversed() }, own, under('batch'))
    assert.deepEqual([turned.status, turned.body.code], [422, 'idempotency_key_reused'])
  })

  test('with another body is refused', async () => {
    await publish(paid, own, under('taken'))
    const other = await publish({ ...paid, data: { ...data, amount: 1 } }, own, under('taken'))
    assert.deepEqual([other.status, other.body.code], [422, 'idempotency_key_reused'])
  })

  test('belongs to its tenant, and for batches to its product', async () => {
    const first = await publish(paid, own, under('shared'))
    const second = await publish({ ...paid, tenant_id: 'tenant_a2' }, own, under('shared'))
    assert.equal(second.status, 202)
    assert.notEqual(first.body.id, second.body.id)
    const stranger = await callerWith('/products/product_b/keys')
    await stranger.call('PUT', '/webhooks/catalog/order.paid', { version: 1, schema })
    const events = [{ ...paid, tenant_id: 'tenant_b' }]
    assert.equal((await publish({ events: [paid] }, own, under('both'))).status, 202)
    assert.equal((await publish({ events }, stranger, under('both'))).status, 202)
  })
})
