import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createApp } from '../app.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { createProduct, issueKey, tenants } from '#tenants'
import { jobs } from './index.ts'
import { createJobContext, addWork } from './testing/work.ts'

const { database } = await createTestDatabase({ after })
const adminKey = 'test-admin-key-that-opens-nothing-real'
const now = new Date()
const context = { ...createJobContext(database, () => now), config: { adminKey } } as Parameters<
  typeof createApp
>[0]
const app = await createApp(context, [tenants, jobs])
after(() => app.close())

function call(method: 'GET' | 'POST', url: string, key: string) {
  return app.inject({ method, url, headers: { authorization: `Bearer ${key}` } })
}

test('the admin lists dead jobs, sends one back and sees it wait', async () => {
  const job = {
    id: 'job_dead',
    tenant_id: null,
    product_id: null,
    name: 'a.b',
    payload: '{}',
    trace_id: 'x',
    created_at: now,
  }
  await database.system.insertInto('jobs').values(job).execute()
  await addWork(database, [{ id: job.id, kind: 'job' }])
  const work = await database.system.deleteFrom('work').returningAll().executeTakeFirstOrThrow()
  const { id, kind, lane, tenant_id, product_id, ref, run_at, series, order_key, number } = work
  const kept = { id, kind, lane, tenant_id, product_id, ref, run_at, series, order_key, number }
  await database.system
    .insertInto('dead_work')
    .values({ ...kept, attempts: 3, error: 'no', died_at: now })
    .execute()

  const listed = await call('GET', '/jobs/dead?name=a.b', adminKey)
  assert.equal(listed.statusCode, 200)
  const [dead] = listed.json().data
  assert.deepEqual([dead.id, dead.attempts, dead.error, dead.died_at], [job.id, 3, 'no', now.toISOString()])

  const retried = await call('POST', `/jobs/dead/${job.id}/retry`, adminKey)
  assert.equal(retried.statusCode, 202)
  const seen = await call('GET', `/jobs/${job.id}`, adminKey)
  assert.equal(seen.json().state, 'waiting')
  assert.equal(seen.json().run_at, now.toISOString())
  assert.deepEqual(
    seen.json().attempts.map((attempt: { outcome: string }) => attempt.outcome),
    ['revived'],
  )
  assert.deepEqual((await call('GET', '/jobs/dead', adminKey)).json().data, [])
})

test('jobs are not for tenants and products, and what is not there is a clear 404', async () => {
  await createProduct(
    context,
    { kind: 'admin', scopes: ['*'], expiresAt: null },
    { id: 'product_1', name: 'Product' },
  )
  const { key } = await issueKey(
    context,
    { productId: 'product_1', tenantId: null },
    { name: 'all', scopes: ['*'] },
  )
  for (const [method, path] of [
    ['GET', '/jobs/dead'],
    ['POST', '/jobs/dead/job_1/retry'],
    ['GET', '/jobs/job_1'],
  ] as const) {
    assert.equal((await call(method, path, key)).statusCode, 403)
  }
  assert.equal((await call('GET', '/jobs/job_1', adminKey)).json().code, 'job_not_found')
  assert.equal((await call('POST', '/jobs/dead/job_1/retry', adminKey)).json().code, 'dead_job_not_found')
  assert.equal((await call('GET', '/jobs/dead?state=x', adminKey)).statusCode, 422)
})
