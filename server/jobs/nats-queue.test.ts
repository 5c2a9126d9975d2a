import assert from 'node:assert/strict'
import { after, describe, type TestContext, test } from 'node:test'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { pino } from 'pino'
import { loadConfig } from '#core/config.ts'
import { type Database, openDatabase } from '#core/database.ts'
import { scrubText } from '#core/scrub.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { readNatsUrl } from './nats-connection.ts'
import { openNatsQueue } from './nats-queue.ts'
import { findLeased, readQueueName } from './queue-queries.ts'
import { createSharedWorkLoop } from './queued-work.ts'
import { testWorkLoop } from './testing/conformance.ts'
import { findNats, lacksNatsServer, openTestQueue, startLoopOver, startNatsServer } from './testing/nats.ts'
import { openWay } from './testing/outage.ts'
import { addWork, countWork, itemsOf, loopOptions, silent, until } from './testing/work.ts'
import { changeSeries } from './work-queries.ts'
import { createFeeder } from './work-feeder.ts'
import { createHand } from './work-hand.ts'
import { settleMs } from './work-outage.ts'

const conforming = await createTestDatabase({ after })
const { database, urls } = await createTestDatabase({ after })
const shared = await findNats()
const lacksServer = await lacksNatsServer()
const done = { kind: 'done' as const }

/** Whose turn it is to claim for all. */
async function readOwner(): Promise<string | null | undefined> {
  const query = database.system
    .selectFrom('work_feeders')
    .select('owner')
    .where('owner_until', '>', new Date())
  return (await query.executeTakeFirst())?.owner
}

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

  test(
    'a process that is gone gets no work: others would wait for its slots',
    { timeout: 60_000 },
    async (t) => {
      const teller = openTestQueue(database, shared.url)
      t.after(() => teller.close())
      const end = Promise.withResolvers<typeof done>()
      const runs: string[] = []
      startLoopOver(shared.url)(
        t,
        database,
        async ({ id }) => {
          runs.push(id)
          return id === 'gone-first' ? done : end.promise
        },
        { slots: 2 },
      )
      await until(() => teller.isReady())
      await addWork(database, [{ id: 'gone-first' }])
      await until(async () => (await countWork(database)) === 0)
      teller.tell('hands', { hand: 'gone', slots: 20, laneCap: 20, running: 0 })
      const toldAt = performance.now()
      await until(() => performance.now() > toldAt + 3_600)
      await addWork(
        database,
        itemsOf('gone', 60).map(({ id }) => ({ id, lane: id })),
      )
      await until(() => runs.length === 3)
      // Some are claimed ahead for the two slots that there are; with those that are gone, all would be.
      assert.ok((await findLeased(database.system, 'delivery')).length < 20)
      end.resolve(done)
      await until(async () => (await countWork(database)) === 0)
    },
  )

  test('what is no notice and no offer is ignored, and harms nothing', { timeout: 60_000 }, async (t) => {
    const name = await readQueueName(database.system, 'delivery')
    const stranger = await connect({ servers: shared.url })
    t.after(() => stranger.close())
    const queue = openTestQueue(database, shared.url)
    t.after(() => queue.close())
    const heard: unknown[] = []
    for (const topic of ['wake', 'freed', 'hands'] as const) queue.hear(topic, (notice) => heard.push(notice))
    let changes = 0
    const runs: string[] = []
    const run = async ({ id }: { id: string }) => {
      runs.push(id)
      return done
    }
    const loop = createSharedWorkLoop({ ...loopOptions(database), run }, queue)
    t.after(() => loop.stop(0))
    loop.start()
    await until(() => queue.isReady() && heard.length > 0)
    queue.onChange(() => (changes += 1))
    heard.length = 0
    const shapes = ['', 'no JSON', 'null', '[]', '{}', '{"claims":5}', '{"hand":"x","slots":"many"}']
    for (const topic of ['wake', 'freed', 'hands', 'offers'])
      for (const shape of shapes) stranger.publish(`${name}.${topic}`, shape)
    await stranger.flush()
    queue.tell('wake', {})
    const items = itemsOf('harmless', 50)
    await addWork(database, items)
    await until(async () => (await countWork(database)) === 0)
    assert.deepEqual(
      runs,
      items.map(({ id }) => id),
    )
    const isNotice = (notice: unknown) => {
      const fields = Object.keys(notice as object)
      return (
        fields.length === 0 ||
        fields.includes('running') ||
        Array.isArray((notice as { claims: unknown }).claims)
      )
    }
    assert.deepEqual(
      heard.filter((notice) => !isNotice(notice)),
      [],
    )
    assert.equal(changes, 0, 'the queue was lost')
  })

  test('a listener that throws is logged, and the others hear on', async (t) => {
    const lines: Array<{ level: number; topic?: string; err?: { message: string } }> = []
    const log = pino({}, { write: (line) => void lines.push(JSON.parse(line)) })
    const readName = () => readQueueName(database.system, 'delivery')
    const queue = openNatsQueue({ url: shared.url, readName, log })
    t.after(() => queue.close())
    let heard = 0
    queue.hear('wake', () => {
      throw new Error('it has a bug')
    })
    queue.hear('wake', () => (heard += 1))
    await until(() => queue.isReady())
    queue.tell('wake', {})
    queue.tell('wake', {})
    await until(() => heard === 2)
    const errors = lines.filter(({ level }) => level === 50)
    assert.deepEqual(
      errors.map(({ topic, err }) => [topic, err?.message]),
      Array.from({ length: 2 }, () => ['wake', 'it has a bug']),
    )
  })

  test('a process whose claims fail leaves the claiming to another', { timeout: 60_000 }, async (t) => {
    const queue = openTestQueue(database, shared.url)
    t.after(() => queue.close())
    const broken = createFeeder({ ...loopOptions(withoutClaims(database)), leaseSeconds: 2 }, queue)
    t.after(() => broken.stop(0))
    await until(() => queue.isReady())
    broken.start()
    await until(async () => typeof (await readOwner()) === 'string')
    startLoopOver(shared.url)(t, database, async () => done)
    await addWork(database, itemsOf('left', 20))
    await until(async () => (await countWork(database)) === 0)
  })

  test(
    'after an outage results are stored before one process claims for all again',
    { timeout: 60_000 },
    async (t) => {
      const [hands, feeders] = [openWay(t, urls), openWay(t, urls)]
      const queues = [openTestQueue(database, shared.url), openTestQueue(database, shared.url)] as const
      for (const queue of queues) t.after(() => queue.close())
      const runs: string[] = []
      const run = async ({ id }: { id: string }) => {
        hands.isAway = runs.length === 0
        runs.push(id)
        return done
      }
      const capacity = { slots: 4, laneCap: 4 }
      const hand = createHand({ ...loopOptions(hands.database), run }, queues[0], capacity)
      const feeder = createFeeder({ ...loopOptions(feeders.database), leaseSeconds: 2 }, queues[1])
      for (const part of [hand, feeder]) t.after(() => part.stop(0))
      await until(() => queues.every((queue) => queue.isReady()))
      for (const part of [hand, feeder]) part.start()
      await addWork(database, [{ id: 'offered' }])
      await until(() => hands.lostEnds === 6)
      feeders.isAway = true
      await until(() => hands.lostEnds === 9)
      await database.system.updateTable('work').set({ lease_until: new Date() }).execute()
      hands.isAway = false
      feeders.isAway = false
      await until(async () => (await countWork(database)) === 0)
      assert.deepEqual(runs, ['offered'])
      // Before its database is closed: the next test would wait for the end of its turn.
      await feeder.stop(0)
    },
  )

  test(
    'an outage of the database that ended while NATS was away does not hold up the claiming when that is back',
    { skip: lacksServer, timeout: 30_000 },
    async (t) => {
      const nats = await startNatsServer(t)
      const way = openWay(t, urls)
      let probes = 0
      const system = way.database.system.withPlugin({
        transformQuery: ({ node }) => {
          if (JSON.stringify(node).includes('select 1')) probes += 1
          return node
        },
        transformResult: async ({ result }) => result,
      })
      const queue = openTestQueue(database, nats.url)
      t.after(() => queue.close())
      await until(() => queue.isReady())
      const write = (line: string) => {
        if (line.includes('whose turn it is')) way.isAway = false
      }
      const log = pino({ level: 'warn' }, { write })
      const feeder = createFeeder(
        { ...loopOptions({ ...way.database, system }), leaseSeconds: 4, log },
        queue,
      )
      t.after(() => feeder.stop(0))
      feeder.start()
      await until(async () => typeof (await readOwner()) === 'string')
      const killed = nats.kill()
      way.isAway = true
      await killed
      await until(() => probes === 1)
      assert.equal(queue.isReady(), false)
      await nats.restart()
      await until(() => queue.isReady())
      const readyAt = performance.now()
      await until(async () => typeof (await readOwner()) === 'string')
      assert.ok(performance.now() - readyAt < settleMs, 'results were given time to settle')
      await feeder.stop(0)
    },
  )

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

/** As of a release that the database is too new for. */
function withoutClaims(database: Database): Database {
  const system = database.system.withPlugin({
    transformQuery: ({ node }) => {
      if (JSON.stringify(node).includes('claim_work(')) throw new Error('function claim_work does not exist')
      return node
    },
    transformResult: async ({ result }) => result,
  })
  return { ...database, system }
}

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
