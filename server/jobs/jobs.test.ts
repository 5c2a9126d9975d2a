import assert from 'node:assert/strict'
import { after, describe, test, type TestContext } from 'node:test'
import pg from 'pg'
import { z } from 'zod'
import { type JobDefinition, type JobRun, RetryLater } from '#core/module.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { collect } from '#core/testing/memory.ts'
import { getDeadJobs, getJob, retryDeadJob } from './dead-jobs.ts'
import { enqueueJob, enqueueJobs } from './enqueue.ts'
import { backoffMs } from './job-runner.ts'
import { createClock, createJobContext, hang, until } from './testing/work.ts'
import { wakeWork } from './wake.ts'
import { createJobWorkers } from './workers.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const scope = { tenantId: 'tenant_1', productId: 'product_1', traceId: 'a1' }
const payload = z.object({ order: z.number() })

type Definition = JobDefinition<z.infer<typeof payload>>

let names = 0

/** A job of its own name that does what the test says and tells what it was given. */
function createJob(run: (run: JobRun) => Promise<void>, options: Partial<Definition> = {}) {
  const runs: { payload: { order: number }; run: JobRun }[] = []
  const definition: Definition = {
    name: `test.job_${(names += 1)}`,
    payload,
    attempts: 3,
    timeoutSeconds: 30,
    ...options,
    run: async (_context, given, jobRun) => {
      runs.push({ payload: given, run: jobRun })
      await run(jobRun)
    },
  }
  return { definition, runs }
}

function startWorkers(t: TestContext, definitions: readonly JobDefinition[], now = () => new Date()) {
  const context = createJobContext(database, now)
  const workers = createJobWorkers(context, [{ name: 'test', needs: [], jobs: definitions }])
  t.after(() => Promise.all(workers.map((worker) => worker.stop(0))))
  for (const worker of workers) worker.start()
  return context
}

async function enqueue(
  definition: Definition,
  now: Date,
  options: { key?: string; runAt?: Date } = {},
): Promise<string> {
  const id = await database.asTenant(scope, (db) =>
    enqueueJob(db, definition, { order: 7 }, { scope, now, traceId: 'trace-1', ...options }),
  )
  assert.ok(id)
  wakeWork('job')
  return id
}

/** Moves the time on until the job is no longer open. */
async function untilClosed(
  id: string,
  clock: { advance(milliseconds: number): void } = createClock(),
): Promise<void> {
  await until(async () => {
    clock.advance(60_000)
    wakeWork('job')
    return (
      (await database.system.selectFrom('work').select('id').where('id', '=', id).executeTakeFirst()) ===
      undefined
    )
  })
}

describe('a job', () => {
  test('runs with its payload, tenant and trace', async (t) => {
    const job = createJob(async () => {})
    const context = startWorkers(t, [job.definition])
    const id = await enqueue(job.definition, new Date())
    await untilClosed(id)
    const [only] = job.runs
    assert.equal(job.runs.length, 1)
    assert.deepEqual(only?.payload, { order: 7 })
    assert.deepEqual(only?.run.scope, { ...scope, traceId: 'trace-1' })
    assert.deepEqual([only?.run.jobId, only?.run.attempt, only?.run.lastAttempt], [id, 1, false])
    const seen = await getJob(context, id)
    assert.equal(seen.state, 'done')
    assert.deepEqual(
      seen.attempts.map((attempt) => attempt.outcome),
      ['done'],
    )
  })

  test('exists only if the transaction that enqueued it commits', async () => {
    const job = createJob(async () => {})
    let id: string | undefined
    const failing = database.asTenant(scope, async (db) => {
      id = await enqueueJob(db, job.definition, { order: 1 }, { scope, now: new Date(), traceId: 'x' })
      throw new Error('rolled back')
    })
    await assert.rejects(failing, /rolled back/)
    await assert.rejects(
      getJob(
        createJobContext(database, () => new Date()),
        id ?? '',
      ),
      { code: 'job_not_found' },
    )
  })

  test('is tried again after growing waits and is dead after its last attempt', async (t) => {
    const clock = createClock()
    const job = createJob(async () => {
      throw new Error('provider is away')
    })
    const context = startWorkers(t, [job.definition], clock.now)
    const id = await enqueue(job.definition, clock.now())
    await untilClosed(id, clock)
    assert.deepEqual(
      job.runs.map(({ run }) => [run.attempt, run.lastAttempt]),
      [
        [1, false],
        [2, false],
        [3, true],
      ],
    )
    const seen = await getJob(context, id)
    assert.equal(seen.state, 'dead')
    assert.deepEqual(
      seen.attempts.map((attempt) => [attempt.attempt, attempt.outcome, attempt.error]),
      [
        [1, 'failed', 'provider is away'],
        [2, 'failed', 'provider is away'],
        [3, 'dead', 'provider is away'],
      ],
    )
  })

  test('that is told to wait comes back at that time without using an attempt', async (t) => {
    const clock = createClock()
    const job = createJob(
      async () => {
        if (job.runs.length < 3) throw new RetryLater('rate limited', 90_000, false)
      },
      { attempts: 1 },
    )
    const context = startWorkers(t, [job.definition], clock.now)
    const id = await enqueue(job.definition, clock.now())
    await until(async () => (await getJob(context, id)).attempts.length === 1)
    assert.equal((await getJob(context, id)).run_at, new Date(clock.now().getTime() + 90_000).toISOString())
    await untilClosed(id, clock)
    const seen = await getJob(context, id)
    assert.deepEqual(
      seen.attempts.map((attempt) => attempt.outcome),
      ['postponed', 'postponed', 'done'],
    )
    assert.deepEqual(
      job.runs.map(({ run }) => run.attempt),
      [1, 1, 1],
    )
  })

  test('leaves nothing in memory once it is over, however long it might have taken', async (t) => {
    const signals: WeakRef<AbortSignal>[] = []
    const { definition } = createJob(async () => {}, { timeoutSeconds: 3600 })
    const job: Definition = {
      ...definition,
      run: async (_context, _payload, { signal }) => void signals.push(new WeakRef(signal)),
    }
    startWorkers(t, [job])
    const ids = await Promise.all(Array.from({ length: 20 }, () => enqueue(job, new Date())))
    for (const id of ids) await untilClosed(id)
    collect()
    const kept = signals.filter((signal) => signal.deref() !== undefined)
    assert.equal(signals.length, 20)
    assert.ok(kept.length < 5, `${kept.length} are kept`)
  })

  test('that ignores its time limit fails and frees its slot', async (t) => {
    const job = createJob(() => new Promise(() => {}), { attempts: 1, timeoutSeconds: 0.05 })
    const context = startWorkers(t, [job.definition])
    const id = await enqueue(job.definition, new Date())
    await untilClosed(id)
    assert.equal((await getJob(context, id)).attempts[0]?.error, 'The job took longer than 0.05 s.')
  })

  test('that runs while its worker is stopped is told so, and waits for another one at once', async (t) => {
    const job = createJob(({ signal }) => hang(signal))
    const id = await enqueue(job.definition, new Date())
    const context = createJobContext(database, () => new Date())
    const workers = createJobWorkers(context, [{ name: 'test', needs: [], jobs: [job.definition] }])
    t.after(() => Promise.all(workers.map((worker) => worker.stop(0))))
    for (const worker of workers) worker.start()
    await until(() => job.runs.length === 1)
    await Promise.all(workers.map((worker) => worker.stop(0)))
    const { state, run_at: runAt, attempts } = await getJob(context, id)
    assert.deepEqual([state, attempts.map(({ outcome }) => outcome)], ['waiting', ['failed']])
    assert.equal(attempts[0]?.error, 'The worker was stopped before the work ended.')
    assert.ok(new Date(runAt ?? 0) <= new Date())
    await database.system.deleteFrom('work').where('id', '=', id).execute()
  })

  test('whose process died in its last attempt is dead without running again', async (t) => {
    const job = createJob(async () => {}, { attempts: 2 })
    const id = await enqueue(job.definition, new Date())
    await database.system.updateTable('work').set({ attempts: 2 }).where('id', '=', id).execute()
    const context = startWorkers(t, [job.definition])
    await untilClosed(id)
    assert.equal(job.runs.length, 0)
    assert.equal((await getJob(context, id)).attempts[0]?.error, 'The process died during the last attempt.')
  })

  test('that this process does not know stays for one that does', async (t) => {
    const clock = createClock()
    const job = createJob(async () => {})
    const id = await enqueue(job.definition, clock.now())
    const context = startWorkers(t, [], clock.now)
    await until(async () => (await getJob(context, id)).run_at !== clock.now().toISOString())
    const waiting = await database.system
      .selectFrom('work')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    assert.equal(waiting.attempts, 0)
    startWorkers(t, [job.definition], clock.now)
    await untilClosed(id, clock)
    assert.equal(job.runs.length, 1)
  })

  test('that can not be read keeps its attempt', async (t) => {
    const clock = createClock()
    const job = createJob(async () => {}, { attempts: 1 })
    const owner = new pg.Client({ connectionString: ownerUrl })
    await owner.connect()
    await owner.query('revoke select on pipecore.jobs from pipecore_system')
    const id = await enqueue(job.definition, clock.now())
    startWorkers(t, [job.definition], clock.now)
    const read = () => database.system.selectFrom('work').selectAll().where('id', '=', id).executeTakeFirst()
    await until(async () => ((await read())?.run_at ?? clock.now()) > clock.now())
    assert.equal((await read())?.attempts, 0)
    await owner.query('grant select on pipecore.jobs to pipecore_system')
    await owner.end()
    await untilClosed(id, clock)
    assert.deepEqual(
      job.runs.map(({ run }) => run.attempt),
      [1],
    )
  })

  test('is not run before its time', async (t) => {
    const clock = createClock()
    const later = createJob(async () => {})
    const now = createJob(async () => {})
    startWorkers(t, [later.definition, now.definition], clock.now)
    const laterId = await enqueue(later.definition, clock.now(), {
      runAt: new Date(clock.now().getTime() + 3_600_000),
    })
    await until(async () => {
      await enqueue(now.definition, clock.now())
      return now.runs.length > 2
    })
    assert.equal(later.runs.length, 0)
    clock.advance(3_600_000)
    await untilClosed(laterId, clock)
    assert.equal(later.runs.length, 1)
  })
})

describe('enqueueing', () => {
  test('under one key makes one job per tenant', async () => {
    const job = createJob(async () => {})
    const now = new Date()
    const options = { scope, now, traceId: 'x', key: 'order-1' }
    const once = (tenantId: string) => {
      const own = { ...scope, tenantId }
      return database.asTenant(own, (db) =>
        enqueueJob(db, job.definition, { order: 1 }, { ...options, scope: own }),
      )
    }
    const ids = await Promise.all([once('tenant_1'), once('tenant_1'), once('tenant_2')])
    assert.equal(ids.filter((id) => id !== undefined).length, 2)
    assert.ok(ids[2])
    assert.equal(await once('tenant_1'), undefined)
  })

  test('many takes one statement and says which keys were new', async () => {
    const job = createJob(async () => {})
    const jobs = ['a', 'b', 'a', undefined].map((key, order) => ({
      payload: { order },
      ...(key !== undefined && { key }),
    }))
    const ids = await database.asTenant(scope, (db) =>
      enqueueJobs(
        db,
        job.definition,
        jobs.map((one) => ({ ...one, scope, traceId: 'x' })),
        new Date(),
      ),
    )
    assert.deepEqual(
      ids.map((id) => id !== undefined),
      [true, true, false, true],
    )
    const open = await database.system
      .selectFrom('work')
      .select('id')
      .where(
        'id',
        'in',
        ids.filter((id) => id !== undefined),
      )
      .execute()
    assert.equal(open.length, 3)
  })

  test('refuses a payload that would not come back as it went', async () => {
    const job = createJob(async () => {})
    const enqueued = database.asTenant(scope, (db) =>
      enqueueJob(db, job.definition, { order: Number.NaN }, { scope, now: new Date(), traceId: 'x' }),
    )
    await assert.rejects(enqueued, { code: 'job_payload_invalid' })
  })

  test('as a tenant can not make work of another', async () => {
    const job = createJob(async () => {})
    const foreign = { ...scope, tenantId: 'tenant_2' }
    const enqueued = database.asTenant(scope, (db) =>
      enqueueJob(db, job.definition, { order: 1 }, { scope: foreign, now: new Date(), traceId: 'x' }),
    )
    await assert.rejects(enqueued, /row-level security/)
  })
})

describe('dead jobs', () => {
  test('are listed, and sent back with all their attempts once more', async (t) => {
    const clock = createClock()
    let broken = true
    const job = createJob(
      async () => {
        if (broken || job.runs.length < 4) throw new Error('still broken')
      },
      { attempts: 2 },
    )
    const context = startWorkers(t, [job.definition], clock.now)
    const id = await enqueue(job.definition, clock.now())
    await untilClosed(id, clock)
    const query = { limit: 10, name: job.definition.name, tenant_id: scope.tenantId }
    const listed = await getDeadJobs(context, query)
    assert.deepEqual(
      listed.data.map((dead) => [dead.id, dead.error, dead.attempts]),
      [[id, 'still broken', 2]],
    )
    broken = false
    const revived = await retryDeadJob(context, id)
    assert.ok(revived.state !== 'dead')
    await untilClosed(id, clock)
    const seen = await getJob(context, id)
    assert.equal(seen.state, 'done')
    assert.deepEqual(
      seen.attempts.map((attempt) => [attempt.attempt, attempt.outcome]),
      [
        [1, 'failed'],
        [2, 'dead'],
        [2, 'revived'],
        [3, 'failed'],
        [4, 'done'],
      ],
    )
    assert.deepEqual((await getDeadJobs(context, query)).data, [])
    await assert.rejects(retryDeadJob(context, id), { code: 'dead_job_not_found' })
  })

  test('come in pages, newest first', async (t) => {
    const job = createJob(
      async () => {
        throw new Error('no')
      },
      { attempts: 1 },
    )
    const context = startWorkers(t, [job.definition])
    const start = Date.now()
    const ids: string[] = []
    for (let index = 0; index < 3; index += 1)
      ids.push(await enqueue(job.definition, new Date(start + index)))
    for (const id of ids) await untilClosed(id)
    const first = await getDeadJobs(context, { limit: 2, name: job.definition.name })
    assert.deepEqual(
      first.data.map((dead) => dead.id),
      [ids[2], ids[1]],
    )
    const second = await getDeadJobs(context, {
      limit: 2,
      name: job.definition.name,
      cursor: first.next_cursor ?? '',
    })
    assert.deepEqual(
      second.data.map((dead) => dead.id),
      [ids[0]],
    )
    assert.equal(second.next_cursor, null)
  })
})

describe('schedules', () => {
  const scheduled = (schedule: string) => {
    const runs: string[] = []
    const definition: JobDefinition<Record<string, never>> = {
      name: `test.job_${(names += 1)}`,
      payload: z.strictObject({}),
      attempts: 1,
      timeoutSeconds: 5,
      schedule,
      run: async (_context, _payload, run) => {
        assert.equal(run.scope, undefined)
        runs.push(run.jobId)
      },
    }
    return { definition, runs }
  }

  test('fire once per tick over all processes', async (t) => {
    const clock = createClock(new Date('2026-11-22T10:30:00Z'))
    const every = scheduled('0 * * * *')
    const marker = scheduled('0 * * * *')
    for (const _ of [1, 2]) startWorkers(t, [every.definition, marker.definition], clock.now)
    await until(() => every.runs.length === 1 && marker.runs.length === 1)
    clock.advance(3_600_000)
    await until(() => every.runs.length === 2 && marker.runs.length === 2)
    const rows = await database.system
      .selectFrom('job_keys')
      .select('key')
      .where('name', '=', every.definition.name)
      .execute()
    assert.deepEqual(rows.map((row) => row.key).toSorted(), [
      '2026-11-22T10:00:00.000Z',
      '2026-11-22T11:00:00.000Z',
    ])
  })

  test('make up for missed ticks once', async (t) => {
    const clock = createClock(new Date('2026-11-22T10:30:00Z'))
    const daily = scheduled('10 0 * * *')
    const [runner, scheduler] = createJobWorkers(createJobContext(database, clock.now), [
      { name: 'test', needs: [], jobs: [daily.definition] },
    ])
    runner?.start()
    scheduler?.start()
    await until(() => daily.runs.length === 1)
    await scheduler?.stop(0)
    await runner?.stop(0)
    clock.advance(5 * 86_400_000)
    startWorkers(t, [daily.definition], clock.now)
    await until(() => daily.runs.length === 2)
    const rows = await database.system
      .selectFrom('job_keys')
      .select('key')
      .where('name', '=', daily.definition.name)
      .execute()
    assert.deepEqual(rows.map((row) => row.key).toSorted(), [
      '2026-11-22T00:10:00.000Z',
      '2026-11-27T00:10:00.000Z',
    ])
  })

  test('are refused at start when a pattern is wrong, a payload is needed or a name is taken', () => {
    const workers = (...jobs: JobDefinition[]) =>
      createJobWorkers(
        createJobContext(database, () => new Date()),
        [{ name: 'test', needs: [], jobs }],
      )
    const job = createJob(async () => {}, { schedule: '0 0 * * *' })
    assert.throws(() => workers(scheduled('61 * * * *').definition))
    assert.throws(() => workers(job.definition))
    const twice = scheduled('0 0 * * *').definition
    assert.throws(() => workers(twice, twice), /two jobs named/)
  })
})

test('waits between attempts double up to an hour and are spread over half of that', () => {
  assert.deepEqual(
    [1, 2, 3, 30].map((attempt) => backoffMs(attempt, 0)),
    [2000, 4000, 8000, 3_600_000],
  )
  assert.equal(backoffMs(3, 1), 4000)
})
