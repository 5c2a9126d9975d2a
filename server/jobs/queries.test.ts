import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { createId } from '#core/ids.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { type AttemptRow, type EndedJob, finishJobs, insertJobs, listAttempts } from './queries.ts'
import type { Claim } from './work.ts'
import { claimWork } from './work-queries.ts'

const { database } = await createTestDatabase({ after })
const { system } = database
const now = new Date()
const request = { kind: 'job' as const, from: '', total: 9, perLane: 9, rooms: new Map(), leaseSeconds: 30 }

/** Several jobs, each of another tenant or of none. @returns their ids */
async function makeJobs(tenants: readonly (string | null)[]): Promise<string[]> {
  const rows = tenants.map((tenantId) => ({
    id: createId('job', now),
    tenantId,
    productId: tenantId === null ? null : 'product',
    traceId: 'trace',
    payload: '{}',
    runAt: now,
    key: null,
  }))
  await insertJobs(system, 'test.run', rows, now)
  return rows.map(({ id }) => id)
}

async function claimJobs(): Promise<Claim[]> {
  const { claims } = await claimWork(system, { ...request, token: randomUUID(), now })
  return claims
}

function attemptOf({ item }: Claim, outcome: AttemptRow['outcome']): AttemptRow {
  const { ref, tenantId, attempt } = item
  const run = { outcome, error: null, started_at: now, duration_ms: 1 }
  return { id: createId('att', now), job_id: ref, tenant_id: tenantId, attempt, ...run }
}

test('of a job that was taken over only the run that held it leaves an attempt', async () => {
  const [id = ''] = await makeJobs(['acme'])
  const [late] = await claimJobs()
  await system
    .updateTable('work')
    .set({ lease_until: new Date(0) })
    .where('id', '=', id)
    .execute()
  const [holder] = await claimJobs()
  assert.ok(late && holder)
  const done = { kind: 'done' as const }
  const ended = [late, holder].map((claim) => ({
    ending: { claim, result: done },
    attempt: attemptOf(claim, 'done'),
    isRepeated: true,
  }))
  assert.deepEqual(await finishJobs(system, ended, now), [false, true])
  const attempts = await listAttempts(system, id)
  assert.deepEqual(
    attempts.map((row) => row.id),
    [ended[1]?.attempt.id],
  )
})

test('jobs end together with and without an attempt, of a tenant and of none', async () => {
  const ids = await makeJobs(['acme', null, 'other', null])
  const claims = new Map((await claimJobs()).map((claim) => [claim.item.id, claim]))
  const ended = ids.map((id, index) => {
    const claim = claims.get(id)!
    const result = index < 2 ? { kind: 'done' as const } : { kind: 'release' as const }
    const attempt = index < 2 ? attemptOf(claim, 'done') : undefined
    return { ending: { claim, result }, attempt, isRepeated: false }
  })
  assert.deepEqual(await finishJobs(system, ended.slice(2), now), [true, true])
  assert.deepEqual(await finishJobs(system, ended, now), [true, true, false, false])
  const stored = await Promise.all(ids.map((id) => listAttempts(system, id)))
  assert.deepEqual(
    stored.map((rows) => rows.map((row) => row.tenant_id)),
    [['acme'], [null], [], []],
  )
})

test('ends of jobs wait for the disk only where one of them would not run again', async () => {
  await makeJobs(['acme', 'acme', 'acme'])
  const [first, ...others] = (await claimJobs()).map((claim) => ({
    ending: { claim, result: { kind: 'done' as const } },
    attempt: undefined,
    isRepeated: true,
  }))
  assert.ok(first && others.length > 1)
  const waits = (ended: readonly EndedJob[]) =>
    database.asSystem(async (db) => {
      await sql`set local synchronous_commit = on`.execute(db)
      await finishJobs(db, ended, now)
      const { rows } = await sql<{ waits: string }>`
        select current_setting('synchronous_commit') as waits`.execute(db)
      return rows[0]?.waits
    })
  assert.equal(await waits([first]), 'off')
  assert.equal(await waits(others.map((job, index) => ({ ...job, isRepeated: index === 0 }))), 'on')
})
