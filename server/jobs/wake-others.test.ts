import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, test, type TestContext } from 'node:test'
import pg from 'pg'
import { openDatabase } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { silent, until } from './testing/work.ts'
import { onWake, wakeWork } from './wake.ts'
import { createWakeListener, createWakeTeller } from './wake-others.ts'

const { database, urls, ownerUrl } = await createTestDatabase({ after })

async function startTeller(t: TestContext) {
  const teller = createWakeTeller({ database, log: silent })
  teller.start()
  t.after(() => teller.stop(0))
  return teller
}

/** What another process would hear. */
async function startHearing(t: TestContext): Promise<string[]> {
  const client = new pg.Client({ connectionString: ownerUrl })
  await client.connect()
  t.after(() => client.end())
  const heard: string[] = []
  client.on('notification', ({ payload = '' }) => heard.push(payload))
  await client.query('listen pipecore_work')
  return heard
}

async function startListener(t: TestContext): Promise<void> {
  const listener = createWakeListener({ database })
  listener.start()
  t.after(() => listener.stop(0))
  const client = new pg.Client({ connectionString: ownerUrl })
  await client.connect()
  t.after(() => client.end())
  await until(async () => {
    const { rowCount } = await client.query(
      `select from pg_stat_activity where datname = current_database() and query like 'listen %'`,
    )
    return rowCount === 1
  })
}

test('work that nobody here works on is told of to others, of a moment together', async (t) => {
  const heard = await startHearing(t)
  await startTeller(t)
  for (let nth = 0; nth < 50; nth += 1) wakeWork('delivery')
  wakeWork('job')
  await until(() => heard.length >= 2)
  await delay(100)
  assert.deepEqual(heard.toSorted(), ['delivery', 'job'])
})

test('the last of many is told of after it came', async (t) => {
  const heard = await startHearing(t)
  await startTeller(t)
  for (let nth = 0; nth < 20; nth += 1) {
    wakeWork('delivery')
    await delay(1)
  }
  const before = heard.length
  wakeWork('delivery')
  await until(() => heard.length > before)
})

test('work that a loop of this process works on is told of to nobody else', async (t) => {
  const heard = await startHearing(t)
  await startTeller(t)
  t.after(onWake('delivery', () => undefined))
  wakeWork('delivery')
  wakeWork('job')
  await until(() => heard.length > 0)
  assert.deepEqual(heard, ['job'])
})

test('a teller that stops has told of all', async (t) => {
  const heard = await startHearing(t)
  const teller = await startTeller(t)
  wakeWork('delivery')
  await teller.stop(0)
  wakeWork('job')
  await until(() => heard.length > 0)
  await delay(100)
  assert.deepEqual(heard, ['delivery'])
})

test('what others tell of wakes the loops of this process, and is not told on', async (t) => {
  await startListener(t)
  const heard = await startHearing(t)
  await startTeller(t)
  let woken = 0
  t.after(onWake('delivery', () => void (woken += 1)))
  const other = new pg.Client({ connectionString: ownerUrl })
  await other.connect()
  t.after(() => other.end())
  await other.query(
    `select pg_notify('pipecore_work', kind) from unnest('{job,delivery,strange}'::text[]) kind`,
  )
  await until(() => woken > 0 && heard.length >= 3)
  await delay(100)
  assert.equal(woken, 1)
  assert.deepEqual(heard, ['job', 'delivery', 'strange'])
})

test('a database that is away costs notifications and one line in the log', async () => {
  const lines: unknown[] = []
  const log = Object.assign(Object.create(silent) as typeof silent, {
    warn: (line: unknown) => lines.push(line),
  })
  const closed = openDatabase({ urls, onError: () => undefined })
  await closed.close()
  const teller = createWakeTeller({ database: closed, log })
  teller.start()
  for (let nth = 0; nth < 20; nth += 1) {
    wakeWork('delivery')
    await delay(5)
  }
  await teller.stop(0)
  assert.equal(lines.length, 1)
})
