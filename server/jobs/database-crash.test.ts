import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { z } from 'zod'
import { openDatabase } from '#core/database.ts'
import { migrateDatabase } from '#core/migrate.ts'
import { startEmbeddedPostgres } from '#core/postgres/embedded-postgres.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJob } from './enqueue.ts'
import { findJobState } from './queries.ts'
import { createJobContext, until } from './testing/work.ts'
import { wakeWork } from './wake.ts'
import { createJobWorkers } from './workers.ts'

const folder = await realpath(await mkdtemp(join(tmpdir(), 'pipecore-crash-')))
await chmod(folder, 0o711)
after(() => rm(folder, { recursive: true, force: true }))

/** What does not wait for the disk reaches it only after ten seconds: a crash within them loses it. */
const settings = { synchronous_commit: 'on', wal_writer_delay: '10s' }
const start = () => startEmbeddedPostgres({ folder: join(folder, 'data'), durable: false, settings })
const sources = ['core', 'tenants', 'jobs'].map((module) => ({
  module,
  folder: new URL(`../${module}/migrations/`, import.meta.url),
}))
const scope = { tenantId: 'tenant_1', productId: 'product_1', traceId: 'a1' }

test("a job that ended at its last attempt has ended, should the database's server crash", async (t) => {
  const first = await start()
  const urls = await migrateDatabase(first.url, sources)
  const database = openDatabase({ urls, onError: () => {} })
  const runs: string[] = []
  const definition: JobDefinition<{ order: number }> = {
    name: 'test.last',
    payload: z.object({ order: z.number() }),
    attempts: 1,
    timeoutSeconds: 30,
    run: async (_context, _payload, { jobId }) => void runs.push(jobId),
  }
  const context = createJobContext(database, () => new Date())
  const workers = createJobWorkers(context, [{ name: 'test', needs: [], jobs: [definition] }])
  for (const worker of workers) worker.start()
  const id = await database.asTenant(scope, (db) =>
    enqueueJob(db, definition, { order: 7 }, { scope, now: new Date(), traceId: 'trace-1' }),
  )
  assert.ok(id)
  wakeWork('job')
  await until(async () => runs.length > 0 && (await findJobState(database.system, id)).state === 'done')
  process.kill(
    Number.parseInt(await readFile(join(first.dataFolder, 'postmaster.pid'), 'utf8'), 10),
    'SIGKILL',
  )
  await Promise.all(workers.map((worker) => worker.stop(0)))
  await database.close()
  await first.stop()
  const second = await start()
  t.after(() => second.stop())
  const recovered = openDatabase({ urls: await migrateDatabase(second.url, sources), onError: () => {} })
  t.after(() => recovered.close())
  assert.equal((await findJobState(recovered.system, id)).state, 'done')
})
