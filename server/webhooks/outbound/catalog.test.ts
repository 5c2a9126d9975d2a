import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import type { TestApi } from '../../testing/api.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import type { CatalogDetail, CatalogEntry } from './schema.ts'

interface Problem {
  code: string
  errors?: Array<{ field: string; message: string }>
}

const paid = {
  type: 'object',
  properties: { order_id: { type: 'string' }, amount: { type: 'integer' } },
  required: ['order_id'],
}

let server: TestServer
let own: TestApi
let tenant: TestApi
let stranger: TestApi
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  server = await startTestServer({ after: (work) => void cleanups.push(work) }, { role: 'api' })
  for (const id of ['a', 'b']) {
    await server.api.call('POST', '/products', { id: `product_${id}`, name: id })
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: `product_${id}`, name: id })
  }
  own = await callerWith('/products/product_a/keys')
  tenant = await callerWith('/tenants/tenant_a/keys')
  stranger = await callerWith('/products/product_b/keys')
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function callerWith(path: string): Promise<TestApi> {
  return server.api.as((await server.api.call<{ key: string }>('POST', path, {})).body.key)
}

function save(api: TestApi, type: string, body: object) {
  return api.call<Problem & CatalogEntry>('PUT', `/webhooks/catalog/${type}`, {
    version: 1,
    schema: paid,
    ...body,
  })
}

async function read(api: TestApi, path: string) {
  return api.call<Problem & CatalogDetail>('GET', `/webhooks/catalog/${path}`)
}

async function publish(type: string, data: object): Promise<number> {
  return (await own.call('POST', '/events', { tenant_id: 'tenant_a', type, data })).status
}

describe('a type of a product', () => {
  test('is registered, read by the product and its tenants, and listed beside ours', async () => {
    const made = await save(own, 'order.paid', { description: 'An order was paid.' })
    assert.equal(made.status, 201, JSON.stringify(made.body))
    for (const api of [own, tenant]) {
      const { body } = await read(api, 'order.paid')
      assert.deepEqual([body.version, body.versions, body.product_id], [1, [1], 'product_a'])
      assert.deepEqual(body.schema, paid)
      const { body: list } = await api.call<{ data: CatalogEntry[] }>('GET', '/webhooks/catalog')
      const names = list.data.map((entry) => `${entry.name} ${entry.product_id}`)
      assert.ok(names.includes('order.paid product_a') && names.includes('message.delivered null'))
    }
    assert.equal((await read(own, 'message.delivered')).body.product_id, null)
  })

  test('is nothing that another product could see, change or delete', async () => {
    await save(own, 'secret.kept', {})
    assert.equal((await read(stranger, 'secret.kept')).body.code, 'event_type_not_found')
    assert.equal((await read(stranger, 'secret.kept?product_id=product_a')).body.code, 'product_not_found')
    const list = await stranger.call('GET', '/webhooks/catalog')
    assert.ok(!JSON.stringify(list.body).includes('secret.kept'))
    assert.equal((await stranger.call('DELETE', '/webhooks/catalog/secret.kept')).status, 404)
    for (const api of [stranger, tenant]) {
      const taken = await save(api, 'secret.kept', { product_id: 'product_a', version: 2 })
      assert.deepEqual([taken.status, taken.body.code], [404, 'product_not_found'])
    }
    assert.equal((await save(tenant, 'secret.kept', { version: 2 })).body.code, 'product_key_required')
    const mine = await save(stranger, 'secret.kept', { schema: { type: 'object' } })
    assert.equal(mine.status, 201)
    assert.deepEqual((await read(own, 'secret.kept')).body.schema, paid)
  })

  test('needs its product named with an admin key', async () => {
    assert.equal((await save(server.api, 'order.sent', {})).body.errors?.[0]?.field, 'product_id')
    assert.equal((await save(server.api, 'order.sent', { product_id: 'product_a' })).status, 201)
    assert.equal((await read(server.api, 'order.sent?product_id=product_a')).status, 200)
    assert.equal((await read(server.api, 'order.sent')).status, 404)
  })

  test('keeps each version as it was; the newest is what a publish is checked against', async () => {
    await save(own, 'order.packed', {})
    const again = await save(own, 'order.packed', { description: 'Packed.' })
    assert.deepEqual([again.status, again.body.description], [200, 'Packed.'])
    const changed = await save(own, 'order.packed', { schema: { type: 'object' } })
    assert.deepEqual([changed.status, changed.body.code], [409, 'version_exists'])
    assert.equal(await publish('order.packed', { order_id: 'ORD-1' }), 202)
    const next = { ...paid, required: ['amount'] }
    assert.equal((await save(own, 'order.packed', { version: 2, schema: next })).status, 201)
    assert.equal(await publish('order.packed', { order_id: 'ORD-1' }), 422)
    const body = { tenant_id: 'tenant_a', type: 'order.packed', version: 1, data: { order_id: 'ORD-1' } }
    assert.equal((await own.call('POST', '/events', body)).status, 202)
    assert.deepEqual((await read(own, 'order.packed')).body.versions, [1, 2])
    assert.deepEqual((await read(own, 'order.packed?version=1')).body.schema, paid)
    assert.equal((await read(own, 'order.packed?version=3')).status, 404)
  })

  test('can no longer be published once it is deleted', async () => {
    await save(own, 'order.lost', {})
    assert.equal(await publish('order.lost', { order_id: 'ORD-1' }), 202)
    assert.equal((await own.call('DELETE', '/webhooks/catalog/order.lost')).status, 204)
    assert.equal(await publish('order.lost', { order_id: 'ORD-1' }), 422)
    assert.equal((await read(own, 'order.lost')).status, 404)
    assert.equal((await own.call('DELETE', '/webhooks/catalog/order.lost')).status, 404)
  })

  test('is gone within seconds where another process deleted it', async () => {
    await save(own, 'order.moved', {})
    assert.equal(await publish('order.moved', { order_id: 'ORD-1' }), 202)
    const { database } = server.server.context
    await sql`delete from event_types where name = 'order.moved'`.execute(database.system)
    assert.equal(await publish('order.moved', { order_id: 'ORD-1' }), 202)
    const deadline = performance.now() + 10_000
    while ((await publish('order.moved', { order_id: 'ORD-1' })) !== 422) {
      assert.ok(performance.now() < deadline, 'it was still published after ten seconds')
    }
  })
})

describe('a registration is refused', () => {
  const refused: Array<[name: string, type: string, body: object, field: string]> = [
    ['for a noun of ours', 'payment.settled', {}, 'type'],
    ['for a noun that is going to be ours', 'endpoint.moved', {}, 'type'],
    ['for a name that no filter could name', 'OrderPaid', {}, 'type'],
    ['without a version', 'order.paid', { version: undefined }, 'version'],
    ['with a version of nought', 'order.paid', { version: 0 }, 'version'],
    ['without a schema', 'order.paid', { schema: undefined }, 'schema'],
    ['with a schema that is none', 'order.paid', { schema: { type: 'money' } }, 'schema.type'],
    ['with a field we do not know', 'order.paid', { colour: 'red' }, 'colour'],
  ]
  for (const [name, type, body, field] of refused) {
    test(name, async () => {
      const answer = await save(own, type, body)
      assert.deepEqual([answer.status, answer.body.code], [422, 'request_invalid'])
      assert.ok(
        answer.body.errors?.some((error) => error.field === field),
        JSON.stringify(answer.body),
      )
    })
  }

  test('by a key without the scope', async () => {
    const made = await server.api.call<{ key: string }>('POST', '/products/product_a/keys', {
      scopes: ['events:write', 'webhooks:read'],
    })
    assert.equal((await save(server.api.as(made.body.key), 'order.paid', {})).body.code, 'scope_missing')
  })
})
