import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Context } from '#core/context.ts'
import { modules } from '../modules.ts'

const scheduled = modules
  .flatMap(({ jobs = [] }) => jobs)
  .filter(({ schedule }) => schedule !== undefined)
  .map(({ name }) => name)
const longestMs = 60_000

/**
 * Waits until every schedule's job has run once. A first start makes up for the last tick of each, so that a slow one
 * would meet what a test has made meanwhile: a reconciliation nobody asked for finds its differences first.
 */
export async function awaitFirstRuns({ database }: Context): Promise<void> {
  const deadline = performance.now() + longestMs
  for (;;) {
    const { rows } = await sql<{ name: string }>`
      select distinct k.name from job_keys k join job_attempts a on a.job_id = k.job_id
       where k.tenant_id = '' and a.outcome = 'done'`.execute(database.system)
    const done = new Set(rows.map(({ name }) => name))
    const missing = scheduled.filter((name) => !done.has(name))
    if (missing.length === 0) return
    assert.ok(performance.now() < deadline, `never ran: ${missing.join(', ')}`)
    await sleep(10)
  }
}
