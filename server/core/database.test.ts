import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { after, before, describe, test } from 'node:test'
import { type Kysely, sql } from 'kysely'
import pg from 'pg'
import { afterCommit } from './after-commit.ts'
import { type Database, openDatabase, type Tables } from './database.ts'
import { createTestDatabase } from './testing/database.ts'

const { urls, ownerUrl } = await createTestDatabase({ after })
const scope = { tenantId: 'acme', productId: 'shop', traceId: 'trace' }
let database: Database

before(async () => {
  const owner = new pg.Client(ownerUrl)
  await owner.connect()
  await owner.query('create table pipecore.notes (text text)')
  await owner.query('grant select, insert on pipecore.notes to pipecore_app, pipecore_system')
  await owner.end()
  // One connection each: what one user leaves behind would meet the next one.
  database = openDatabase({ urls, appConnections: 1, systemConnections: 1, onError: () => undefined })
})
after(() => database.close())

const write = (db: Kysely<Tables>, text: string) => sql`insert into notes values (${text})`.execute(db)
const fail = (db: Kysely<Tables>) => sql`select 1 / 0`.execute(db)

async function notes(): Promise<string[]> {
  const { rows } = await sql<{ text: string }>`select text from notes order by text`.execute(database.system)
  return rows.map(({ text }) => text)
}

test('a statement on a connection of its own takes none of the pool, and ends with the database', async () => {
  const other = openDatabase({ urls, systemConnections: 1, onError: () => undefined })
  const { rows } = await other.asSystemAlone((db) =>
    sql<{ login: string; number: number }>`select current_user as login, 2::bigint as number`.execute(db),
  )
  assert.equal(rows[0]?.login, decodeURIComponent(new URL(urls.upkeep).username))
  assert.equal(rows[0]?.number, 2)
  const begun = Promise.withResolvers<void>()
  const long = other.asSystemAlone((db) => {
    begun.resolve()
    return sql`select pg_sleep(600)`.execute(db)
  })
  long.catch(() => undefined)
  await begun.promise
  await sql`select 1`.execute(other.system)
  await other.close()
  await assert.rejects(long, /Connection terminated|not connected|closed/i)
})

test('statements that are pipelined share a connection, each behind the one before, whatever becomes of that', async () => {
  const other = openDatabase({ urls, systemConnections: 2, onError: () => undefined })
  const ask = (seconds: number, divisor = 1) =>
    other.asSystemPipelined((db) =>
      sql<{ pid: number; at: Date }>`
        select pg_backend_pid() as pid, pg_sleep(${seconds}), 1 / ${divisor}::int, clock_timestamp() as at`.execute(
        db,
      ),
    )
  const [slow, failed, quick] = await Promise.allSettled([ask(0.2), ask(0, 0), ask(0)])
  assert.equal(failed.status, 'rejected')
  assert.ok(slow.status === 'fulfilled' && quick.status === 'fulfilled')
  const [first, last] = [slow.value.rows[0]!, quick.value.rows[0]!]
  assert.equal(first.pid, last.pid)
  assert.ok(first.at <= last.at)
  const used = other.pools().find(({ pool }) => pool === 'system')
  assert.deepEqual([used?.open, used?.idle], [1, 1])
  await other.close()
})

test('a pipelined statement that comes once its connection was given back is refused', async () => {
  const kept = await database.asSystemPipelined(async (db) => {
    await sql`select 1`.execute(db)
    return { db }
  })
  await assert.rejects(sql`select 1`.execute(kept.db), /came after the end/)
})

test('where the connection of pipelined statements breaks, the next ones have another', async () => {
  const other = openDatabase({ urls, systemConnections: 2, onError: () => undefined })
  const ask = (text: string) =>
    other.asSystemPipelined((db) => sql<{ pid: number }>`${sql.raw(text)}`.execute(db))
  const pid = 'select pg_backend_pid() as pid'
  const before = await ask(pid)
  const broken = await Promise.allSettled([
    ask('select pg_terminate_backend(pg_backend_pid()), pg_sleep(10)'),
    ask(pid),
  ])
  assert.deepEqual(
    broken.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.notEqual((await ask(pid)).rows[0]?.pid, before.rows[0]?.pid)
  await other.close()
})

test('moments are read to the millisecond in whatever way the database tells them', async () => {
  const texts = [
    '2026-11-29 21:04:51',
    '2026-11-29 21:04:51.1',
    '1999-12-31 23:59:59.999999',
    '0044-03-15 12:00',
  ]
  for (const zone of ['UTC', 'America/Santiago', 'Asia/Kolkata']) {
    const read = await database.asSystem(async (db) => {
      await sql`select set_config('timezone', ${zone}, true)`.execute(db)
      const { rows } = await sql<{ read: Date; ms: string }>`
        select moment as read, trunc(extract(epoch from moment) * 1000)::text as ms
        from (select (text || ' UTC')::timestamptz as moment from unnest(${texts}::text[]) as text) given`.execute(
        db,
      )
      return rows
    })
    assert.deepEqual(
      read.map((row) => row.read.getTime()),
      read.map((row) => Number(row.ms)),
    )
  }
  const { rows } = await sql<{ far: Date; never: number; before: Date }>`
    select '10000-01-01 00:00:00+00'::timestamptz as far, 'infinity'::timestamptz as never,
      '0001-01-01 00:00:00+00 BC'::timestamptz as before`.execute(database.system)
  assert.equal(rows[0]?.far.getUTCFullYear(), 10_000)
  assert.equal(rows[0]?.never, Infinity)
  assert.equal(rows[0]?.before.getUTCFullYear(), 0)
})

test('the server ends a statement before the client gives it up, but none that may take as long as it needs', async () => {
  const longest = async (db: Kysely<Tables>) => {
    const { rows } = await sql<{ ms: number }>`
      select extract(epoch from current_setting('statement_timeout')::interval)::int * 1000 as ms`.execute(db)
    return rows[0]?.ms
  }
  const ofPools = [
    await longest(database.system),
    await database.asSystem(longest),
    await database.asTenant(scope, longest),
    await database.readAsTenant(scope, longest),
    await database.asTenantOnce(scope, longest),
  ]
  assert.deepEqual(new Set(ofPools), new Set([45_000]))
  assert.equal(await database.asSystemAlone(longest), 0)
})

test('what the server ended for its time did not happen', async () => {
  const name = pg.escapeIdentifier(new URL(ownerUrl).pathname.slice(1))
  const login = pg.escapeIdentifier(decodeURIComponent(new URL(urls.system).username))
  const owner = new pg.Client(ownerUrl)
  await owner.connect()
  await owner.query(`alter role ${login} in database ${name} set statement_timeout = '200ms'`)
  const hasty = openDatabase({ urls, systemConnections: 1, onError: () => undefined })
  const slow = sql`insert into notes select 'slow' from pg_sleep(1)`
  await assert.rejects(slow.execute(hasty.system), /statement timeout/)
  await hasty.asSystemAlone((db) => sql`insert into notes select 'patient' from pg_sleep(1)`.execute(db))
  await hasty.close()
  await owner.query(`alter role ${login} in database ${name} set statement_timeout = '45s'`)
  await owner.end()
  assert.equal((await notes()).includes('slow'), false)
  assert.ok((await notes()).includes('patient'))
})

test('a connection that is old is made anew, and nothing is cut off for that', async (t) => {
  const brief = openDatabase({ urls, appConnections: 1, connectionSeconds: 1, onError: () => undefined })
  t.after(() => brief.close())
  const readBackend = async (db: Kysely<Tables>) => {
    const { rows } = await sql<{ id: number }>`select pg_backend_pid() as id`.execute(db)
    return rows[0]?.id
  }
  const long = await brief.asTenant(scope, async (db) => {
    const first = await readBackend(db)
    await delay(1_500)
    return [first, await readBackend(db)]
  })
  assert.equal(long[0], long[1])
  assert.notEqual(await brief.asTenantOnce(scope, readBackend), long[0])
})

test('a connection whose session the server ended is lent to nobody', async (t) => {
  const ended = openDatabase({ urls, onError: () => undefined })
  t.after(() => ended.close())
  const runs: Array<(work: (db: Kysely<Tables>) => Promise<unknown>) => Promise<unknown>> = [
    (work) => ended.asTenant(scope, work),
    (work) => ended.readAsTenant(scope, work),
    (work) => ended.asTenantOnce(scope, work),
    (work) => ended.asSystem(work),
    (work) => work(ended.system),
  ]
  for (const run of runs) {
    const end = (db: Kysely<Tables>) => sql`select pg_terminate_backend(pg_backend_pid())`.execute(db)
    await assert.rejects(run(end), /terminating connection/)
    await run((db) => sql`select 1`.execute(db))
  }
})

test('nor is one that broke with a statement that was given up', async (t) => {
  const broken = openDatabase({ urls, answerSeconds: 0.2, onError: () => undefined })
  t.after(() => broken.close())
  const runs: Array<(work: (db: Kysely<Tables>) => Promise<unknown>) => Promise<unknown>> = [
    (work) => broken.asTenantOnce(scope, work),
    (work) => work(broken.system),
  ]
  for (const run of runs) {
    await run((db) => sql`select 1`.execute(db))
    await assert.rejects(
      run((db) => sql`select pg_sleep(3)`.execute(db)),
      /no answer within 0.2 s/,
    )
    await run((db) => sql`select 1`.execute(db))
  }
})

describe('a transaction', () => {
  for (const [kind, run] of [
    ['asTenant', (work: (db: Kysely<Tables>) => Promise<unknown>) => database.asTenant(scope, work)],
    ['asSystem', (work: (db: Kysely<Tables>) => Promise<unknown>) => database.asSystem(work)],
  ] as const) {
    test(`of ${kind} that failed runs nothing any more, not even in the next one`, async () => {
      let late: Promise<unknown> = Promise.resolve()
      const failed = run(async (db) => {
        late = delay(50).then(() => write(db, `late of ${kind}`))
        late.catch(() => undefined)
        await Promise.all([late, fail(db)])
      })
      await assert.rejects(failed, /division by zero/)
      await run(async (db) => {
        await delay(100)
        await sql`select 1`.execute(db)
      })
      await assert.rejects(late, /after the end of its transaction/)
      assert.equal((await notes()).includes(`late of ${kind}`), false)
    })

    test(`of ${kind} refuses what comes while it is committed`, async () => {
      let late: Promise<unknown> = Promise.resolve()
      await run(async (db) => {
        await sql`select 1`.execute(db)
        late = nextTurn().then(() => write(db, `behind ${kind}`))
        late.catch(() => undefined)
      })
      await assert.rejects(late, /after the end of its transaction/)
      assert.equal((await notes()).includes(`behind ${kind}`), false)
    })

    test(`of ${kind} in which an error was overlooked is no success`, async () => {
      const overlooked = run(async (db) => {
        await write(db, `overlooked in ${kind}`)
        await fail(db).catch(() => undefined)
      })
      await assert.rejects(overlooked, /rolled back: one of its statements failed/)
      assert.equal((await notes()).includes(`overlooked in ${kind}`), false)
    })
  }

  test('that failed has none of the effects of a commit, not even of what ends after it', async () => {
    const done: string[] = []
    const runs: Array<[string, (work: (db: Kysely<Tables>) => Promise<unknown>) => Promise<unknown>]> = [
      ['asTenant', (work) => database.asTenant(scope, work)],
      ['asTenantOnce', (work) => database.asTenantOnce(scope, work)],
      ['asSystem', (work) => database.asSystem(work)],
    ]
    for (const [kind, run] of runs) {
      const over = Promise.withResolvers<void>()
      let late: Promise<void> = Promise.resolve()
      const failed = run(async (db) => {
        late = over.promise.then(() => afterCommit(db, () => done.push(kind)))
        await fail(db)
      })
      await assert.rejects(failed, /division by zero/)
      over.resolve()
      await late
    }
    assert.deepEqual(done, [])
  })

  test('of one statement tells its error, and the connection goes on', async () => {
    await assert.rejects(database.asTenantOnce(scope, fail), /division by zero/)
    await assert.rejects(
      database.asTenantOnce(scope, () => {
        throw new Error('before the statement')
      }),
      /before the statement/,
    )
    await assert.rejects(
      database.asTenantOnce(scope, (db) => fail(db).catch(() => undefined)),
      /division by zero/,
    )
    await database.asTenantOnce(scope, (db) => write(db, 'once'))
    assert.ok((await notes()).includes('once'))
  })

  test('of one statement waits for the disk, unless it is repeated after a crash', async (t) => {
    const owner = new pg.Client(ownerUrl)
    await owner.connect()
    const name = pg.escapeIdentifier(new URL(ownerUrl).pathname.slice(1))
    await owner.query(`alter database ${name} set synchronous_commit = 'on'`)
    await owner.end()
    const durable = openDatabase({ urls, appConnections: 1, onError: () => undefined })
    t.after(() => durable.close())
    const read = async (db: Kysely<Tables>) => {
      const { rows } = await sql<{ waits: string }>`
        select current_setting('synchronous_commit') as waits`.execute(db)
      return rows[0]?.waits
    }
    assert.equal(await durable.asTenantOnce(scope, read, { isRepeated: true }), 'off')
    assert.equal(await durable.asTenantOnce(scope, read), 'on')
  })

  test('that only reads can not write', async () => {
    await assert.rejects(
      database.readAsTenant(scope, (db) => write(db, 'read')),
      /read-only transaction/,
    )
  })

  test('that is rehearsed leaves nothing', async () => {
    await database.rehearseAsTenant(scope, (db) => write(db, 'rehearsed'))
    assert.equal((await notes()).includes('rehearsed'), false)
  })

  test('leaves in as few packets as it waits for answers', async (t) => {
    const { port } = new URL(urls.app)
    let packets = 0
    const sockets = Socket.prototype as Record<'_write' | '_writev', (...given: unknown[]) => void>
    for (const name of ['_write', '_writev'] as const) {
      const write = sockets[name]
      t.mock.method(sockets, name, function count(this: Socket, ...given: unknown[]) {
        if (this.remotePort === Number(port)) packets += 1
        write.apply(this, given)
      })
    }
    const packetsOf = async (run: () => Promise<unknown>) => {
      packets = 0
      await run()
      return packets
    }
    const read = (db: Kysely<Tables>) => sql`select text from notes where text = ${'a'}`.execute(db)
    const together = (db: Kysely<Tables>) => Promise.all([read(db), read(db)])
    const inTurn = async (db: Kysely<Tables>) => {
      await read(db)
      await read(db)
    }
    await database.asTenant(scope, read)
    assert.equal(await packetsOf(() => database.asTenantOnce(scope, read)), 1)
    assert.equal(await packetsOf(() => database.asTenant(scope, read)), 2)
    assert.equal(await packetsOf(() => database.asTenant(scope, together)), 2)
    assert.equal(await packetsOf(() => database.asTenant(scope, inTurn)), 3)
  })
})
