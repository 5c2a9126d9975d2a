import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { failCall, openOutbound, resolving, toLoopback } from './testing/outbound.ts'
import { startHttp, startTcp } from './testing/servers.ts'

const slowly = { ...resolving(async () => (await wait(150), ['127.0.0.1'])) }

test('a fresh connection has a look-up and connecting, a kept one has neither', async (t) => {
  const { port } = await startHttp(t, (_request, response) => response.end('ok'))
  const outbound = openOutbound(t, slowly)
  const call = () => outbound.request({ method: 'POST', url: `http://slow.test:${port}/`, timeoutMs: 5_000 })
  const fresh = await call()
  assert.ok((fresh.timings.lookupMs ?? 0) >= 145, JSON.stringify(fresh.timings))
  assert.ok(fresh.timings.connectMs !== null && fresh.timings.connectMs < 145, JSON.stringify(fresh.timings))
  assert.ok(fresh.durationMs >= (fresh.timings.lookupMs ?? 0) + fresh.timings.connectMs)
  const kept = await call()
  assert.deepEqual([kept.timings.lookupMs, kept.timings.connectMs], [null, null])
  assert.notEqual(kept.timings.firstByteMs, null)
})

test('an answer that is slow to begin shows in the first byte, one that is slow to end in the whole', async (t) => {
  const { url } = await startHttp(t, (request, response) => {
    if (request.url === '/late') return void setTimeout(() => response.end('ok'), 150)
    response.writeHead(200)
    response.write('o')
    setTimeout(() => response.end('k'), 150)
  })
  const outbound = openOutbound(t)
  const late = await outbound.request({ method: 'POST', url: `${url}/late`, timeoutMs: 5_000 })
  assert.equal(late.timings.lookupMs, null, 'a literal address needs no look-up')
  assert.ok((late.timings.firstByteMs ?? 0) >= 145, JSON.stringify(late.timings))
  assert.ok((late.timings.connectMs ?? 999) < 145, JSON.stringify(late.timings))
  const long = await outbound.request({ method: 'POST', url: `${url}/long`, timeoutMs: 5_000 })
  assert.ok(long.durationMs - (long.timings.firstByteMs ?? 999) >= 100, JSON.stringify(long))
})

test('connecting counts the TLS handshake', async (t) => {
  const { port } = await startTcp(t, () => {})
  const outbound = openOutbound(t, toLoopback)
  const url = `https://silent.test:${port}/`
  const error = await failCall(outbound, { method: 'POST', url, timeoutMs: 500 })
  assert.equal(error.timings.connectMs, null, 'the TCP connection alone is none')
  assert.notEqual(error.timings.lookupMs, null)
})

test('a call that fails tells how far it came', async (t) => {
  const { port } = await startHttp(t, () => {})
  const outbound = openOutbound(t, slowly)
  const unanswered = await failCall(outbound, {
    method: 'POST',
    url: `http://slow.test:${port}/`,
    timeoutMs: 800,
  })
  assert.ok((unanswered.timings.lookupMs ?? 0) >= 145)
  assert.notEqual(unanswered.timings.connectMs, null)
  assert.equal(unanswered.timings.firstByteMs, null)
})
