import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { failCall, openOutbound, toLoopback } from './testing/outbound.ts'
import { closed, startHttp, startTcp } from './testing/servers.ts'

describe('a kept connection', () => {
  test('is used again after a whole answer', async (t) => {
    const { url, connections } = await startHttp(t, (_request, response) => response.end('ok'))
    const outbound = openOutbound(t)
    for (let call = 0; call < 5; call += 1) await outbound.request({ method: 'POST', url, timeoutMs: 5_000 })
    assert.equal(connections.length, 1)
  })

  test('that the server closed while idle is replaced without an error', async (t) => {
    const { url, connections } = await startHttp(t, (_request, response) => response.end('ok'))
    const outbound = openOutbound(t)
    await outbound.request({ method: 'POST', url, timeoutMs: 5_000 })
    connections[0]?.end()
    await closed(connections[0])
    const answer = await outbound.request({ method: 'POST', url, timeoutMs: 5_000 })
    assert.equal(answer.status, 200)
    assert.equal(connections.length, 2)
  })

  test('is not used again when the server said close', async (t) => {
    const { url, connections } = await startHttp(t, (_request, response) => {
      response.writeHead(200, { connection: 'close' }).end('ok')
    })
    const outbound = openOutbound(t)
    const calls = Array.from({ length: 3 }, () => outbound.request({ method: 'POST', url, timeoutMs: 5_000 }))
    const answers = await Promise.all(calls)
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [200, 200, 200],
    )
    assert.equal(connections.length, 3)
  })

  test('belongs to one call at a time, and no more than the limit are open', async (t) => {
    let atOnce = 0
    let most = 0
    const { url, connections } = await startHttp(t, (_request, response) => {
      atOnce += 1
      most = Math.max(most, atOnce)
      setImmediate(() => {
        atOnce -= 1
        response.end('ok')
      })
    })
    const outbound = openOutbound(t, { maxConnectionsPerOrigin: 3 })
    const calls = Array.from({ length: 40 }, () =>
      outbound.request({ method: 'POST', url, timeoutMs: 5_000 }),
    )
    const answers = await Promise.all(calls)
    assert.ok(answers.every((answer) => answer.status === 200))
    assert.ok(most <= 3, `${most} at once`)
    assert.equal(connections.length, 3)
  })

  test(
    'that only connects counts against the limit too, and ends with its call',
    { timeout: 8_000 },
    async (t) => {
      const { port, connections } = await startTcp(t, () => {})
      const outbound = openOutbound(t, { maxConnectionsPerOrigin: 2 })
      const url = `https://127.0.0.1:${port}/`
      const call = (timeoutMs: number) => failCall(outbound, { method: 'POST', url, timeoutMs })
      const errors = await Promise.all([3_000, 3_000, 500, 500, 500].map(call))
      assert.ok(errors.every((error) => error.failure === 'timeout' && !error.sent))
      assert.equal(connections.length, 2)
      await Promise.all(connections.map(closed))
    },
  )

  test(
    'of an origin unused for long is closed when there are more than 500',
    { timeout: 30_000 },
    async (t) => {
      const { port, connections, server } = await startHttp(t, (_request, response) => response.end())
      server.keepAliveTimeout = 600_000
      const outbound = openOutbound(t, toLoopback)
      const call = (name: number) =>
        outbound.request({ method: 'GET', url: `http://host-${name}.test:${port}/`, timeoutMs: 10_000 })
      await Promise.all(Array.from({ length: 500 }, (_, name) => call(name)))
      assert.equal(connections.length, 500)
      await call(0)
      assert.equal(connections.length, 500)
      await call(500)
      await closed(connections[1])
      assert.equal(connections[0]?.destroyed, false)
    },
  )
})

test('many hanging calls to one origin do not delay another', async (t) => {
  const hanging = await startHttp(t, () => {})
  const { url } = await startHttp(t, (_request, response) => response.end('ok'))
  const outbound = openOutbound(t)
  const stuck = Array.from({ length: 200 }, () =>
    failCall(outbound, { method: 'POST', url: hanging.url, timeoutMs: 60_000 }),
  )
  const answer = await outbound.request({ method: 'POST', url, timeoutMs: 5_000 })
  assert.equal(answer.status, 200)
  await outbound.close()
  const errors = await Promise.all(stuck)
  assert.ok(errors.filter((error) => error.sent).length <= 64)
})

// Shorter than the time limit for connecting, which must not be what ends these connections.
describe('close', { timeout: 8_000 }, () => {
  test('ends calls under way, waiting and connecting, and refuses new ones', async (t) => {
    const hanging = await startHttp(t, () => {})
    const silent = await startTcp(t, () => {})
    const outbound = openOutbound(t, { maxConnectionsPerOrigin: 1 })
    const sent = failCall(outbound, { method: 'POST', url: hanging.url, timeoutMs: 60_000 })
    const waiting = failCall(outbound, { method: 'POST', url: hanging.url, timeoutMs: 60_000 })
    const connecting = failCall(outbound, {
      method: 'POST',
      url: `https://127.0.0.1:${silent.port}/`,
      timeoutMs: 60_000,
    })
    await Promise.all([once(hanging.server, 'request'), once(silent.server, 'connection')])
    await outbound.close()
    assert.deepEqual([(await sent).failure, (await sent).sent], ['reset', true])
    assert.deepEqual([(await waiting).failure, (await waiting).sent], ['connect', false])
    assert.deepEqual([(await connecting).failure, (await connecting).sent], ['connect', false])
    const late = await failCall(outbound, { method: 'POST', url: hanging.url, timeoutMs: 60_000 })
    assert.deepEqual([late.failure, late.sent], ['connect', false])
    await closed(hanging.connections[0])
    await closed(silent.connections[0])
  })

  test('closes idle connections', async (t) => {
    const { url, connections } = await startHttp(t, (_request, response) => response.end())
    const outbound = openOutbound(t)
    await outbound.request({ method: 'GET', url, timeoutMs: 5_000 })
    await outbound.close()
    await closed(connections[0])
  })
})
