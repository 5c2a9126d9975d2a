import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { startTestServer, type TestServer } from '../testing/server.ts'

let server: TestServer
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  server = await startTestServer({ after: (work) => void cleanups.push(work) })
  await server.api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  await server.api.call('POST', '/tenants', {
    id: 'tableflow_123',
    product_id: 'tableflow',
    name: 'Restaurant',
  })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function issue(path: string, body: Record<string, unknown>, key = server.adminKey) {
  return server.api
    .as(key)
    .call<{ key: string; id: string; code: string; expires_at: string | null }>('POST', path, body)
}

describe('a key', () => {
  test('is shown once, tells its last use, and stops working when it is deleted', async () => {
    const { body: made } = await issue('/products/tableflow/keys', { name: 'backend' })
    const own = server.api.as(made.key)
    assert.equal((await own.call('GET', '/tenants')).status, 200)
    const list = await server.api.call<{ data: Array<Record<string, unknown>> }>(
      'GET',
      '/products/tableflow/keys',
    )
    const shown = list.body.data.find((one) => one.id === made.id)
    assert.notEqual(shown?.last_used_at, null)
    assert.ok(!JSON.stringify(list.body).includes(made.key))
    assert.equal((await server.api.call('DELETE', `/products/tableflow/keys/${made.id}`)).status, 204)
    assert.equal((await own.call('GET', '/tenants')).status, 401)
  })

  test('that another process deleted stops within a second or so', async () => {
    const { body: made } = await issue('/products/tableflow/keys', { name: 'shared' })
    const own = server.api.as(made.key)
    assert.equal((await own.call('GET', '/tenants')).status, 200)
    const { system } = server.server.context.database
    await sql`update api_keys set revoked_at = now() where id = ${made.id}`.execute(system)
    const deadline = performance.now() + 5_000
    while ((await own.call('GET', '/tenants')).status !== 401) {
      assert.ok(performance.now() < deadline, 'it still works after five seconds')
    }
  })

  test('gives away no scope and no time that it does not have', async () => {
    const soon = new Date(Date.now() + 3_600_000).toISOString()
    const { body: maker } = await issue('/products/tableflow/keys', {
      scopes: ['keys:write', 'messaging:read'],
      expires_at: soon,
    })
    assert.equal(
      (await issue('/tenants/tableflow_123/keys', { scopes: ['*'] }, maker.key)).body.code,
      'scope_missing',
    )
    assert.equal((await issue('/tenants/tableflow_123/keys', {}, maker.key)).body.code, 'scope_missing')
    const child = await issue('/tenants/tableflow_123/keys', { scopes: ['messaging:read'] }, maker.key)
    assert.deepEqual([child.status, child.body.expires_at], [201, soon])
    const later = new Date(Date.now() + 7_200_000).toISOString()
    assert.equal(
      (
        await issue(
          '/tenants/tableflow_123/keys',
          { scopes: ['messaging:read'], expires_at: later },
          maker.key,
        )
      ).status,
      422,
    )
  })

  test('can not be made already expired, nor for a product that is not there', async () => {
    assert.equal(
      (await issue('/products/tableflow/keys', { expires_at: '2020-01-01T00:00:00Z' })).status,
      422,
    )
    assert.equal((await issue('/products/nope/keys', {})).status, 404)
  })
})
