import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import { type OutboundCall, OutboundError } from './outbound.ts'
import { failCall, openOutbound } from './testing/outbound.ts'
import { closed, startHttp, startTcp } from './testing/servers.ts'

const secret = 's3cret-fake-value'

describe('an answer', () => {
  test('comes back with status, joined lower-case headers and exact bytes', async (t) => {
    const bytes = Buffer.from([0, 255, 10, 13, 200])
    const { url } = await startHttp(t, (_request, response) => {
      response.writeHead(201, [
        ['X-Trace', 'abc'],
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ])
      response.end(bytes)
    })
    const answer = await openOutbound(t).request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.equal(answer.status, 201)
    assert.equal(answer.headers['x-trace'], 'abc')
    assert.equal(answer.headers['set-cookie'], 'a=1, b=2')
    assert.deepEqual(answer.body, bytes)
    assert.equal(answer.truncated, false)
    assert.ok(answer.durationMs >= 0)
  })

  test('is preceded by exactly the method, path, query, headers and body that were given', async (t) => {
    const { url, requests } = await startHttp(t, (_request, response) => response.end())
    const outbound = openOutbound(t, { userAgent: 'PipeCore/test' })
    const body = 'ñandú ✓'
    await outbound.request({
      method: 'PUT',
      url: `${url}/a%20b/c?x=1&y=%C3%B1#part`,
      headers: { 'Content-Type': 'text/plain', 'X-Own': 'yes' },
      body,
      timeoutMs: 5_000,
    })
    const [seen] = requests
    assert.ok(seen)
    assert.equal(seen.method, 'PUT')
    assert.equal(seen.url, '/a%20b/c?x=1&y=%C3%B1')
    assert.equal(seen.headers['content-type'], 'text/plain')
    assert.equal(seen.headers['x-own'], 'yes')
    assert.equal(seen.headers['user-agent'], 'PipeCore/test')
    assert.equal(seen.headers['accept-encoding'], 'identity')
    assert.equal(seen.headers['content-length'], String(Buffer.byteLength(body)))
    assert.equal(seen.body, body)
  })

  test('of 3xx is returned, not followed', async (t) => {
    const { url, requests } = await startHttp(t, (_request, response) => {
      response.writeHead(302, { location: '/elsewhere' }).end()
    })
    const answer = await openOutbound(t).request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.equal(answer.status, 302)
    assert.equal(requests.length, 1)
  })

  test('is not decompressed', async (t) => {
    const packed = gzipSync('x'.repeat(1_000_000))
    const { url } = await startHttp(t, (_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed)
    })
    const answer = await openOutbound(t).request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.deepEqual(answer.body, packed)
  })

  test('never goes through a proxy of the environment', async (t) => {
    const proxy = await startHttp(t, (_request, response) => response.writeHead(599).end())
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY'])
      setEnvironment(t, name, proxy.url)
    setEnvironment(t, 'NODE_USE_ENV_PROXY', '1')
    const { url } = await startHttp(t, (_request, response) => response.end())
    const answer = await openOutbound(t).request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.equal(answer.status, 200)
    assert.equal(proxy.requests.length, 0)
  })

  test('may be preceded by informational answers', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () => {
        socket.end(
          'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
        )
      })
    })
    const answer = await openOutbound(t).request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.link, undefined)
  })
})

describe('a large answer', () => {
  test('of exactly the limit is whole', async (t) => {
    const { url } = await startHttp(t, (_request, response) => response.end('x'.repeat(5_000)))
    const answer = await openOutbound(t).request({
      method: 'GET',
      url,
      timeoutMs: 5_000,
      maxResponseBytes: 5_000,
    })
    assert.equal(answer.body.length, 5_000)
    assert.equal(answer.truncated, false)
  })

  test('is cut at the limit, at 1 MiB unless told otherwise', async (t) => {
    const { url } = await startHttp(t, (_request, response) => response.end('x'.repeat(1024 * 1024 + 1)))
    const outbound = openOutbound(t)
    const cut = await outbound.request({ method: 'GET', url, timeoutMs: 5_000, maxResponseBytes: 10 })
    assert.equal(cut.body.toString(), 'xxxxxxxxxx')
    assert.equal(cut.truncated, true)
    const whole = await outbound.request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.equal(whole.body.length, 1024 * 1024)
    assert.equal(whole.truncated, true)
  })

  test('without end is left, and its connection closed', async (t) => {
    const { url, connections } = await startTcp(t, (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
        const pour = () => {
          while (!socket.destroyed && socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`));
        }
        socket.on('drain', pour)
        pour()
      })
    })
    const answer = await openOutbound(t).request({
      method: 'GET',
      url,
      timeoutMs: 5_000,
      maxResponseBytes: 100_000,
    })
    assert.equal(answer.status, 200)
    assert.equal(answer.body.length, 100_000)
    assert.equal(answer.truncated, true)
    await closed(connections[0])
  })

  test('that drips ends at the deadline', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n')
        const drip = setInterval(() => socket.write('x'), 20)
        socket.on('close', () => clearInterval(drip))
      })
    })
    const error = await failCall(openOutbound(t), { method: 'POST', url, timeoutMs: 1_500 })
    assert.deepEqual([error.failure, error.sent], ['timeout', true])
  })

  test('in its headers is refused', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`))
    })
    const error = await failCall(openOutbound(t), { method: 'GET', url, timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
    assert.match(error.message, /headers are larger than 16384 bytes/)
  })
})

describe('the request may have had its effect', () => {
  test('when the server hangs before its answer', async (t) => {
    const { url, connections } = await startTcp(t, () => {})
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 1_500 })
    assert.deepEqual([error.failure, error.sent], ['timeout', true])
    await closed(connections[0])
  })

  test('when the server closes without an answer', async (t) => {
    const { url } = await startTcp(t, (socket) => socket.once('data', () => socket.end()))
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
  })

  test('when the connection is reset without an answer', async (t) => {
    const { url } = await startTcp(t, (socket) => socket.once('data', () => socket.resetAndDestroy()))
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
  })

  test('when the answer breaks off in its body, with or without an announced length', async (t) => {
    for (const head of ['content-length: 100', 'transfer-encoding: chunked']) {
      const { url } = await startTcp(t, (socket) => {
        socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\nhello\r\n`))
      })
      const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['reset', true], head)
    }
  })

  test('when the connection is reset in the body of the answer', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello', () => socket.resetAndDestroy())
      })
    })
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
  })

  test('when the answer is not HTTP', async (t) => {
    const { url } = await startTcp(t, (socket) =>
      socket.once('data', () => socket.end(`${secret} 220 smtp\r\n`)),
    )
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
    assert.doesNotMatch(error.message, /s3cret/)
  })

  test('when the server switches protocols', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      )
    })
    const error = await failCall(openOutbound(t), { method: 'POST', url, body: 'x', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
  })

  for (const method of ['POST', 'GET'] as const) {
    test(`when a kept connection is closed as a ${method} arrives on it: reset, and never sent twice`, async (t) => {
      let arrivals = 0
      const { url, connections } = await startTcp(t, (socket) => {
        let first = true
        socket.on('data', () => {
          arrivals += 1
          if (first) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
          else socket.destroy()
          first = false
        })
      })
      const outbound = openOutbound(t)
      await outbound.request({ method: 'GET', url, timeoutMs: 5_000 })
      const error = await failCall(outbound, { method, url, timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['reset', true])
      assert.equal(arrivals, 2)
      assert.equal(connections.length, 1)
    })
  }
})

test('whatever a server does, each call ends, arrives at most once, and not at all if it says it was not sent', async (t) => {
  const arrivals: string[] = []
  const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
  const behaviours: ((socket: Socket) => unknown)[] = [
    (socket) => socket.write(answer),
    (socket) => socket.write(answer, () => socket.destroy()),
    (socket) => socket.end(answer),
    (socket) => socket.end(answer.slice(0, 30)),
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    () => {},
  ]
  const { url } = await startTcp(t, (socket) => {
    if (Math.random() < 0.1) socket.destroy()
    socket.on('data', (data) => {
      const ids = data.toString().match(/(?<=x-id: )\w+/g) ?? []
      arrivals.push(...ids)
      if (ids.length > 0) behaviours[Math.floor(Math.random() * behaviours.length)]?.(socket)
    })
  })
  const outbound = openOutbound(t, { maxConnectionsPerOrigin: 8 })
  const outcomes = await Promise.all(
    Array.from({ length: 800 }, async (_, index) => {
      const headers = { 'x-id': `call${index}` }
      // Some have time enough on any machine.
      const timeoutMs = index % 50 === 0 ? 5_000 : 20 + Math.floor(Math.random() * 400)
      const request = { method: index % 2 === 0 ? 'POST' : 'GET', url, headers, timeoutMs } as const
      return outbound.request(request).then(
        () => ({ id: `call${index}`, sent: true, done: true }),
        (error: unknown) => ({
          id: `call${index}`,
          sent: error instanceof OutboundError && error.sent,
          done: false,
        }),
      )
    }),
  )
  assert.equal(new Set(arrivals).size, arrivals.length, 'a call arrived twice')
  const arrived = new Set(arrivals)
  for (const { id, sent, done } of outcomes) {
    if (!sent) assert.ok(!arrived.has(id), `${id} says not sent, yet arrived`)
    if (done) assert.ok(arrived.has(id), `${id} has an answer, yet never arrived`)
  }
  assert.ok(
    outcomes.some((outcome) => outcome.done) && outcomes.some((outcome) => outcome.sent && !outcome.done),
  )
})

describe('what is told about a call', () => {
  test('is its method, origin, path, outcome and duration, without the query', async (t) => {
    const calls: OutboundCall[] = []
    const { url } = await startHttp(t, (_request, response) => response.writeHead(404).end())
    const outbound = openOutbound(t, { onCall: (call) => calls.push(call) })
    await outbound.request({ method: 'POST', url: `${url}/a/b?token=${secret}`, timeoutMs: 5_000 })
    await failCall(outbound, { method: 'GET', url: 'http://169.254.1.1/x?y', timeoutMs: 5_000 })
    assert.deepEqual(
      calls.map(({ durationMs, ...call }) => ({ ...call, timed: durationMs >= 0 })),
      [
        { method: 'POST', origin: url, path: '/a/b', status: 404, timed: true },
        { method: 'GET', origin: 'http://169.254.1.1', path: '/x', failure: 'blocked', timed: true },
      ],
    )
  })

  test('never holds a header, a body, a query or a credential', async (t) => {
    const { url } = await startTcp(t, (socket) => {
      socket.once('data', () =>
        socket.end(`HTTP/1.1 200 OK\r\ncontent-length: 99\r\nx: ${secret}\r\n\r\n${secret}`),
      )
    })
    const told: unknown[] = []
    const outbound = openOutbound(t, { onCall: (call) => told.push(call) })
    const error = await failCall(outbound, {
      method: 'POST',
      url: `${url}/?token=${secret}`,
      headers: { authorization: `Bearer ${secret}` },
      body: secret,
      timeoutMs: 5_000,
    })
    assert.deepEqual([error.failure, error.sent], ['reset', true])
    assert.doesNotMatch(inspect([told, error], { depth: 10 }), /s3cret/)
  })
})

function setEnvironment(t: TestContext, name: string, value: string): void {
  const before = process.env[name]
  process.env[name] = value
  t.after(() => {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  })
}
