import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, test, type TestContext } from 'node:test'
import pg from 'pg'
import { keepListening } from './notifications.ts'
import { createTestDatabase } from './testing/database.ts'
import { startTcp } from './testing/servers.ts'

let owner: pg.Client
// Ends before its database does.
after(() => owner.end())
const { urls, ownerUrl } = await createTestDatabase({ after })
before(async () => {
  owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
})

const channel = 'a "channel"'
const tell = (payload: string) => owner.query('select pg_notify($1, $2)', [channel, payload])

async function countListeners(): Promise<number> {
  const { rows } = await owner.query(
    `select from pg_stat_activity where datname = current_database() and query like 'listen %'`,
  )
  return rows.length
}

async function untilListening(count: number): Promise<void> {
  const deadline = performance.now() + 30_000
  while ((await countListeners()) !== count) {
    assert.ok(performance.now() < deadline, `there are not ${count} that listen`)
    await delay(10)
  }
}

async function untilHeard(heard: readonly string[], count: number): Promise<void> {
  const deadline = performance.now() + 30_000
  while (heard.length < count) {
    assert.ok(performance.now() < deadline, `only ${heard.length} were heard`)
    await delay(5)
  }
}

function listen(t: TestContext, url = urls.upkeep) {
  const heard: string[] = []
  const errors: Error[] = []
  const end = keepListening({
    url,
    channel,
    hear: (payload) => void heard.push(payload),
    onError: (error) => void errors.push(error),
  })
  t.after(end)
  return { heard, errors, end }
}

test('what is told on the channel is heard, until it is ended', async (t) => {
  const { heard, errors, end } = listen(t)
  await untilListening(1)
  await tell('one')
  await tell('two')
  await untilHeard(heard, 2)
  await end()
  await untilListening(0)
  assert.deepEqual(heard, ['one', 'two'])
  assert.deepEqual(errors, [])
})

test('a connection that is lost is told of once and made anew', async (t) => {
  const { heard, errors } = listen(t)
  await untilListening(1)
  await owner.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like 'listen %'`)
  await untilListening(0)
  await untilListening(1)
  await tell('again')
  await untilHeard(heard, 1)
  assert.deepEqual(heard, ['again'])
  assert.equal(errors.length, 1)
})

test('a database that is away is told of once, and ending does not wait for it', async (t) => {
  const { port } = await startTcp(t, (socket) => void socket.destroy())
  const away = Object.assign(new URL(urls.upkeep), { port: String(port) })
  const { errors, end } = listen(t, away.href)
  await delay(2_500)
  assert.equal(errors.length, 1)
  await end()
})

test('attempts that fail leave nothing behind', async (t) => {
  const added = t.mock.method(AbortSignal.prototype, 'addEventListener')
  const { port, connections } = await startTcp(t, (socket) => void socket.destroy())
  listen(t, Object.assign(new URL(urls.upkeep), { port: String(port) }).href)
  while (connections.length < 3) await delay(10)
  const [signal] = added.mock.calls.map((call) => call.this as AbortSignal)
  assert.ok(signal)
  assert.ok(getEventListeners(signal, 'abort').length <= 2)
})

for (const [silentFrom, allowed] of [
  ['its beginning', 1],
  ['what it is asked first', 3],
] as const) {
  test(`one that answers nothing from ${silentFrom} on does not hold up the end`, async (t) => {
    const { port, server, connections } = await startTcp(t, (socket) => passOn(socket, allowed))
    Object.assign(server, { allowHalfOpen: true })
    const { end } = listen(t, Object.assign(new URL(urls.upkeep), { port: String(port) }).href)
    while (connections.length === 0) await delay(10)
    await delay(500)
    const startedAt = performance.now()
    await end()
    assert.ok(performance.now() - startedAt < 4_000)
  })
}

test('one that vanishes while it is listened to does not hold up the end', async (t) => {
  const { port, server } = await startTcp(t, (socket) => passOn(socket, 5))
  Object.assign(server, { allowHalfOpen: true })
  const { end } = listen(t, Object.assign(new URL(urls.upkeep), { port: String(port) }).href)
  await untilListening(1)
  await delay(100)
  const startedAt = performance.now()
  await end()
  assert.ok(performance.now() - startedAt < 4_000)
})

/** Passes on so many packets to the database, and then nothing more; says no goodbye either. */
function passOn(socket: Socket, most: number): void {
  const server = new URL(urls.upkeep)
  const behind = connect(Number(server.port), server.hostname)
  let passed = 0
  behind.on('error', () => undefined)
  behind.on('data', (bytes) => socket.write(bytes))
  socket.on('data', (bytes) => {
    passed += 1
    if (passed <= most) behind.write(bytes)
  })
  socket.on('close', () => behind.destroy())
}

test('one that answers nothing does not hold up the end', async (t) => {
  const { port } = await startTcp(t, () => undefined)
  const silent = Object.assign(new URL(urls.upkeep), { port: String(port) })
  const { end } = listen(t, silent.href)
  await delay(100)
  const startedAt = performance.now()
  await end()
  assert.ok(performance.now() - startedAt < 5_000)
})

test('behind a pooler, which tells a process id of its own, nothing listens', async (t) => {
  const server = new URL(urls.upkeep)
  let connections = 0
  const { port } = await startTcp(t, (socket) => {
    connections += 1
    const behind = connect(Number(server.port), server.hostname)
    socket.on('data', (bytes: Buffer) => behind.write(bytes))
    behind.on('data', (bytes) => socket.write(withOtherProcessId(bytes)))
    behind.on('close', () => socket.destroy())
    socket.on('close', () => behind.destroy())
  })
  const { errors } = listen(t, Object.assign(new URL(server), { port: String(port) }).href)
  await delay(1_500)
  assert.equal(connections, 1)
  assert.equal(await countListeners(), 0)
  assert.deepEqual(errors, [])
})

const backendKeyData = Buffer.from([0x4b, 0, 0, 0, 12])

function withOtherProcessId(bytes: Buffer): Buffer {
  const at = bytes.indexOf(backendKeyData)
  if (at !== -1) bytes.writeInt32BE(1, at + backendKeyData.length)
  return bytes
}
