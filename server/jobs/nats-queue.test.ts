import assert from 'node:assert/strict'
import { after, describe, type TestContext, test } from 'node:test'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { pino } from 'pino'
import { loadConfig } from '#core/config.ts'
import { openDatabase } from '#core/database.ts'
import { scrubText } from '#core/scrub.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { readNatsUrl } from './nats-connection.ts'
import { openNatsQueue } from './nats-queue.ts'
import { readQueueName } from './queue-queries.ts'
import { createSharedWorkLoop } from './queued-work.ts'
import { testWorkLoop } from './testing/conformance.ts'
import { findNats, lacksNatsServer, openTestQueue, startLoopOver, startNatsServer } from './testing/nats.ts'
import { addWork, countWork, itemsOf, loopOptions, silent, until } from './testing/work.ts'
import { changeSeries } from './work-queries.ts'
import { createFeeder } from './work-feeder.ts'

const conforming = await createTestDatabase({ after })
const { database, urls } = await createTestDatabase({ after })
const shared = await findNats()
const lacksServer = await lacksNatsServer()
const done = { kind: 'done' as const }

describe('over NATS', { skip: shared.skip }, () => {
  after(async () => {
    const connection = await connect({ servers: shared.url })
    const manager = await jetstreamManager(connection)
    for (const { system } of [conforming.database, database]) {
      const name = await readQueueName(system, 'delivery')
      await manager.streams.delete(name).catch(() => undefined)
    }
    await connection.close()
  })

  testWorkLoop(conforming, { startLoop: startLoopOver(shared.url), queueUrl: shared.url })

  test('one process claims for all, and every claim travels', async (t) => {
    const name = await readQueueName(database.system, 'delivery')
    const spy = await connect({ servers: shared.url })
    t.after(() => spy.close())
    let offers = 0
    spy.subscribe(`${name}.offers`, { callback: () => void (offers += 1) })
    await spy.flush()
    const runs: string[] = []
    const by = [0, 0, 0]
    const startLoop = startLoopOver(shared.url)
    for (const place of by.keys()) {
      startLoop(t, database, async (item) => {
        runs.push(item.id)
        by[place] = (by[place] ?? 0) + 1
        await new Promise((resolve) => setTimeout(resolve, 5))
        return done
      })
    }
    const items = [...itemsOf('travels-a', 200), ...itemsOf('travels-b', 200)]
    await addWork(database, items)
    await until(async () => (await countWork(database)) === 0)
    assert.deepEqual(runs.toSorted(), items.map(({ id }) => id).toSorted())
    assert.equal(offers, items.length)
    assert.ok(
      by.every((count) => count > 0),
      `each process ran some: ${by.join(', ')}`,
    )
  })

  test('limits hold while another process takes over the claiming', { timeout: 60_000 }, async (t) => {
    await changeSeries(database.system, 'limited', { mostRunning: 2 })
    const limited = ['limited-1', 'limited-2', 'limited-3'].map((id) => ({
      id,
      lane: 'limited/x',
      series: 'limited',
    }))
    await addWork(database, limited)
    const queue = openTestQueue(database, shared.url)
    t.after(() => queue.close())
    const first = createFeeder(loopOptions(database), queue)
    t.after(() => first.stop(0))
    await until(() => queue.isReady())
    first.start()
    const readOwner = async () => {
      const feeders = await database.system.selectFrom('work_feeders').select('owner').execute()
      return feeders[0]?.owner
    }
    await until(async () => typeof (await readOwner()) === 'string')
    const owner = await readOwner()
    const end = Promise.withResolvers<typeof done>()
    const runs: string[] = []
    startLoopOver(shared.url)(t, database, async ({ id }) => {
      runs.push(id)
      return id === 'free' ? done : end.promise
    })
    await until(() => runs.length === 2)
    assert.equal(await readOwner(), owner)
    await first.stop(0)
    await addWork(database, [{ id: 'free' }])
    await until(() => runs.includes('free'))
    assert.deepEqual(runs, ['limited-1', 'limited-2', 'free'])
    end.resolve(done)
    await until(async () => (await countWork(database)) === 0)
    assert.equal(runs.at(-1), 'limited-3')
  })
})

/** Three processes' loops over 3,000 items that count what they ran. */
async function startFleet(t: TestContext, url: string) {
  const items = ['a', 'b', 'c', 'd', 'e', 'f'].flatMap((name) => itemsOf(`fleet-${name}`, 500))
  await addWork(database, items)
  const runs: string[] = []
  for (let process = 0; process < 3; process += 1) {
    const own = openDatabase({ urls, onError: () => {} })
    t.after(() => own.close())
    startLoopOver(url)(
      t,
      own,
      async (item) => {
        await new Promise((resolve) => setTimeout(resolve, 10))
        runs.push(item.id)
        return done
      },
      { slots: 16, leaseSeconds: 3 },
    )
  }
  return { runs, ids: items.map(({ id }) => id).toSorted() }
}

describe('a NATS', { skip: lacksServer }, () => {
  test(
    'that is killed under load, and comes back empty, loses nothing and doubles nothing',
    {
      timeout: 90_000,
    },
    async (t) => {
      const server = await startNatsServer(t)
      const { runs, ids } = await startFleet(t, server.url)
      await until(() => runs.length > 500)
      await server.kill()
      const atKill = runs.length
      await until(() => runs.length > atKill + 500)
      await server.restart()
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(runs.toSorted(), ids)
    },
  )

  test(
    'whose stream is deleted under load loses nothing and doubles nothing',
    { timeout: 90_000 },
    async (t) => {
      const server = await startNatsServer(t)
      const operator = await connect({ servers: server.url })
      t.after(() => operator.close())
      const { runs, ids } = await startFleet(t, server.url)
      await until(() => runs.length > 500)
      const manager = await jetstreamManager(operator)
      await manager.streams.delete(await readQueueName(database.system, 'delivery'))
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(runs.toSorted(), ids)
    },
  )

  test('with credentials is reached with those of its URL, which no log shows', async (t) => {
    const server = await startNatsServer(t, ['--user', 'pipecore', '--pass', 'fake-pass/word'])
    const lines: string[] = []
    const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
    const readName = () => readQueueName(database.system, 'delivery')
    const at = server.url.slice('nats://'.length)
    const refused = openNatsQueue({ url: `nats://pipecore:wrong-fake-pass@${at}`, readName, log })
    const queue = openNatsQueue({ url: `nats://pipecore:fake-pass%2Fword@${at}`, readName, log })
    t.after(() => refused.close())
    t.after(() => queue.close())
    await until(() => queue.isReady())
    await server.kill()
    await until(() => !queue.isReady() && lines.some((line) => line.includes('can not be reached')))
    assert.ok(!refused.isReady())
    assert.doesNotMatch(lines.join(''), /fake-pass/)
  })
})

test('work goes on where NATS was never there', async (t) => {
  const queue = openNatsQueue({ url: 'nats://127.0.0.1:9', readName: async () => 'none', log: silent })
  t.after(() => queue.close())
  await addWork(database, itemsOf('without', 20))
  const loop = createSharedWorkLoop({ ...loopOptions(database), run: async () => done }, queue)
  t.after(() => loop.stop(0))
  loop.start()
  await until(async () => (await countWork(database)) === 0)
})

test('PIPECORE_QUEUE takes nats:// and tls:// URLs, and no message repeats its credentials', () => {
  assert.deepEqual(
    { ...readNatsUrl('tls://fake-token@nats.example.com:4333'), name: undefined },
    { ...readNatsUrl('nats://nats.example.com:4333'), name: undefined, tls: {}, token: 'fake-token' },
  )
  const load = () => loadConfig({ PIPECORE_QUEUE: 'redis://user:fake-pass@example.com' }, [])
  assert.throws(
    load,
    (error: Error) => /PIPECORE_QUEUE/.test(error.message) && !/fake-pass/.test(error.message),
  )
  assert.equal(scrubText('nats://user:fake-pass@host:4222'), 'nats://[redacted]@host:4222')
  assert.equal(scrubText('nats://fake-token@host:4222'), 'nats://[redacted]@host:4222')
})
