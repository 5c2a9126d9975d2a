import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { startTestServer } from '../testing/server.ts'

const cleanups: Array<() => Promise<void>> = []
const { api, ownerUrl } = await startTestServer(
  { after: (work) => void cleanups.push(work) },
  { role: 'api' },
)
test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})
await api.call('POST', '/products', { id: 'product_a', name: 'A' })
await api.call('POST', '/products', { id: 'product_b', name: 'B' })

interface Answer {
  retention_days: number
  raw_retention_days: number
  code: string
  errors: Array<{ field: string; message: string }>
}

function make(id: string, wish: object = {}) {
  return api.call<Answer>('POST', '/tenants', { id, product_id: 'product_a', name: 'T', ...wish })
}

async function wishOf(id: string, caller = api): Promise<unknown> {
  const { body } = await caller.call<{ data: Array<Answer & { id: string }> }>('GET', '/tenants?limit=200')
  const tenant = body.data.find((one) => one.id === id)
  return [tenant?.retention_days, tenant?.raw_retention_days]
}

test('a tenant is kept for 30 days unless it is made otherwise, its bodies as long', async () => {
  assert.equal((await make('plain')).status, 201)
  assert.deepEqual(await wishOf('plain'), [30, 30])
  await make('long', { retention_days: 365 })
  assert.deepEqual(await wishOf('long'), [365, 365])
  const { body } = await make('lean', { retention_days: 90, raw_retention_days: 7 })
  assert.deepEqual([body.retention_days, body.raw_retention_days], [90, 7])
})

test('making it again changes nothing, and another retention is refused', async () => {
  await make('again', { retention_days: 90 })
  assert.equal((await make('again')).status, 201)
  assert.equal((await make('again', { retention_days: 90 })).status, 201)
  const { status, body } = await make('again', { retention_days: 7 })
  assert.deepEqual([status, body.code, body.errors[0]?.field], [409, 'tenant_exists', 'retention_days'])
  assert.deepEqual(await wishOf('again'), [90, 90])
})

test('a change is whole or refused: bodies are never kept longer than their records', async () => {
  await make('changed')
  const change = (wish: object) => api.call<Answer>('PATCH', '/tenants/changed', wish)
  assert.equal((await change({ retention_days: 90 })).status, 200)
  assert.deepEqual(await wishOf('changed'), [90, 90])
  await change({ raw_retention_days: 30 })
  assert.deepEqual(await wishOf('changed'), [90, 30])
  const refused = await change({ retention_days: 7 })
  assert.deepEqual([refused.status, refused.body.errors[0]?.field], [422, 'raw_retention_days'])
  assert.deepEqual(await wishOf('changed'), [90, 30])
  await change({ retention_days: 7, raw_retention_days: null })
  assert.deepEqual(await wishOf('changed'), [7, 7])
  for (const wish of [
    { retention_days: 8 },
    { retention_days: null },
    { raw_retention_days: 90 },
    { name: 'x' },
  ])
    assert.equal((await change(wish)).status, 422, JSON.stringify(wish))
  assert.equal((await make('bad', { retention_days: 7, raw_retention_days: 30 })).status, 422)
  assert.deepEqual(await wishOf('bad'), [undefined, undefined])
})

test('it is remembered from when on rows were kept: a longer retention brings none back', async () => {
  await make('longer', { retention_days: 7 })
  await api.call('PATCH', '/tenants/longer', { retention_days: 365 })
  const owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
  const { rows } = await owner.query(
    `select (now() at time zone 'UTC')::date - kept_from as days from pipecore.tenants where id = 'longer'`,
  )
  await owner.end()
  assert.deepEqual(rows, [{ days: 7 }])
})

test('only its product may change it, and to others it does not exist', async () => {
  await make('owned')
  const keyOf = async (path: string) => {
    const { body } = await api.call<{ key: string }>('POST', `${path}/keys`, {})
    return api.as(body.key)
  }
  const wish = { retention_days: 365 }
  const change = async (path: string) => {
    const { status, body } = await (await keyOf(path)).call<Answer>('PATCH', '/tenants/owned', wish)
    return [status, body.code]
  }
  assert.deepEqual(await change('/tenants/owned'), [403, 'product_required'])
  assert.deepEqual(await change('/tenants/plain'), [404, 'tenant_not_found'])
  assert.deepEqual(await change('/products/product_b'), [404, 'tenant_not_found'])
  assert.deepEqual(await wishOf('owned'), [30, 30])
  assert.equal((await change('/products/product_a'))[0], 200)
  assert.deepEqual(await wishOf('owned', await keyOf('/tenants/owned')), [365, 365])
})
