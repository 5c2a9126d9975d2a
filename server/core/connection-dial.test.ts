import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test, type TestContext } from 'node:test'
import { rootCertificates, setDefaultCACertificates } from 'node:tls'
import { failCall, openOutbound, resolving, toLoopback } from './testing/outbound.ts'
import { closed, startHttp, startHttps, startTcp } from './testing/servers.ts'

const secret = 's3cret-fake-value'

describe('nothing was sent', () => {
  test('when the port refuses the connection', async (t) => {
    const { url, server } = await startTcp(t, () => {})
    server.close()
    await once(server, 'close')
    const error = await failCall(openOutbound(t), { method: 'POST', url, timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['connect', false])
    assert.match(error.message, /ECONNREFUSED/)
  })

  test('when the name does not exist', async (t) => {
    const outbound = openOutbound(t, {
      ...resolving(() => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))),
    })
    const error = await failCall(outbound, { method: 'POST', url: 'http://nowhere.test/', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['lookup', false])
    assert.match(error.message, /ENOTFOUND/)
  })

  test('when the name has no address', async (t) => {
    const outbound = openOutbound(t, { ...resolving(async () => []) })
    const error = await failCall(outbound, { method: 'POST', url: 'http://empty.test/', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['lookup', false])
  })

  test('when the look-up outlasts the deadline', async (t) => {
    const outbound = openOutbound(t, { ...resolving(() => new Promise(() => {})) })
    const error = await failCall(outbound, { method: 'POST', url: 'http://slow.test/', timeoutMs: 50 })
    assert.deepEqual([error.failure, error.sent], ['timeout', false])
  })

  test('when the server does not speak TLS', async (t) => {
    const { port } = await startTcp(t, (socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    })
    const error = await failCall(openOutbound(t), {
      method: 'POST',
      url: `https://127.0.0.1:${port}/`,
      timeoutMs: 5_000,
    })
    assert.deepEqual([error.failure, error.sent], ['tls', false])
  })

  test('when the TLS handshake is cut or hangs', async (t) => {
    const cut = await startTcp(t, (socket) => socket.once('data', () => socket.destroy()))
    const cutError = await failCall(openOutbound(t), {
      method: 'POST',
      url: `https://127.0.0.1:${cut.port}/`,
      timeoutMs: 5_000,
    })
    assert.deepEqual([cutError.failure, cutError.sent], ['tls', false])
    const silent = await startTcp(t, () => {})
    const url = `https://127.0.0.1:${silent.port}/`
    const hangError = await failCall(openOutbound(t), { method: 'POST', url, timeoutMs: 1_500 })
    assert.deepEqual([hangError.failure, hangError.sent], ['timeout', false])
    await closed(silent.connections[0])
  })

  test('when the certificate is not trusted, whatever NODE_TLS_REJECT_UNAUTHORIZED says', async (t) => {
    setEnvironment(t, 'NODE_TLS_REJECT_UNAUTHORIZED', '0')
    const { port, requests } = await startHttps(t, 'secure.test')
    const error = await failCall(openOutbound(t, toLoopback), {
      method: 'POST',
      url: `https://secure.test:${port}/`,
      timeoutMs: 5_000,
    })
    assert.deepEqual([error.failure, error.sent], ['tls', false])
    assert.match(error.message, /DEPTH_ZERO_SELF_SIGNED_CERT/)
    assert.equal(requests.length, 0)
  })

  test('when the certificate is for another name', async (t) => {
    const { port, cert, requests, askedFor } = await startHttps(t, 'secure.test')
    trust(t, cert)
    const outbound = openOutbound(t, toLoopback)
    const answer = await outbound.request({
      method: 'GET',
      url: `https://secure.test:${port}/`,
      timeoutMs: 5_000,
    })
    assert.equal(answer.status, 200)
    assert.deepEqual(askedFor, ['secure.test'])
    const url = `https://other.test:${port}/`
    const error = await failCall(outbound, { method: 'POST', url, timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['tls', false])
    assert.match(error.message, /ERR_TLS_CERT_ALTNAME_INVALID/)
    assert.equal(requests.length, 1)
  })

  test('when the call waited for a connection until its deadline', async (t) => {
    const { url, requests } = await startHttp(t, () => {})
    const outbound = openOutbound(t, { maxConnectionsPerOrigin: 1 })
    const first = failCall(outbound, { method: 'POST', url, timeoutMs: 4_000 })
    const second = await failCall(outbound, { method: 'POST', url, timeoutMs: 1_000 })
    assert.deepEqual([second.failure, second.sent], ['timeout', false])
    assert.equal((await first).sent, true)
    assert.equal(requests.length, 1)
  })
})

describe('the address guard', () => {
  test('refuses a literal address and names the rule, the address and the setting', async (t) => {
    const { url, connections } = await startTcp(t, () => {})
    const error = await failCall(openOutbound(t, { allowPrivateAddresses: false }), {
      method: 'POST',
      url,
      timeoutMs: 5_000,
    })
    assert.deepEqual([error.failure, error.sent], ['blocked', false])
    assert.match(error.message, /127\.0\.0\.1 is a loopback address \(127\.0\.0\.0\/8\)/)
    assert.match(error.message, /PIPECORE_ALLOW_PRIVATE_ENDPOINTS/)
    assert.equal(connections.length, 0)
  })

  const spellings = [
    '2130706433',
    '0x7f.1',
    '017700000001',
    '[::1]',
    '[::ffff:7f00:1]',
    'localhost',
    'x.localhost',
  ]
  for (const host of spellings) {
    test(`refuses ${host} by the default look-up`, async (t) => {
      const outbound = openOutbound(t, { allowPrivateAddresses: false })
      const error = await failCall(outbound, { method: 'POST', url: `http://${host}:9/`, timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['blocked', false])
    })
  }

  test('refuses a name when any of its addresses is not public', async (t) => {
    const outbound = openOutbound(t, {
      allowPrivateAddresses: false,
      ...resolving(async () => ['93.184.216.34', '2606:4700::1', '10.0.0.8']),
    })
    const error = await failCall(outbound, { method: 'POST', url: 'https://mixed.test/', timeoutMs: 5_000 })
    assert.deepEqual([error.failure, error.sent], ['blocked', false])
    assert.match(error.message, /10\.0\.0\.8 is a private address/)
  })

  test('refuses cloud metadata even where private addresses are allowed', async (t) => {
    const outbound = openOutbound(t, { ...resolving(async () => ['127.0.0.1', '169.254.169.254']) })
    for (const url of ['http://metadata.test/', 'http://169.254.169.254/latest/']) {
      const error = await failCall(outbound, { method: 'GET', url, timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['blocked', false])
      assert.doesNotMatch(error.message, /PIPECORE_ALLOW/)
    }
  })

  test('looks a name up once per connection and dials the address it checked', async (t) => {
    const { port, requests } = await startHttp(t, (_request, response) => response.end())
    const looked: string[] = []
    const outbound = openOutbound(t, {
      ...resolving(async (name) => {
        looked.push(name)
        return looked.length === 1 ? ['127.0.0.1'] : ['169.254.169.254']
      }),
    })
    const url = `http://rebinding.test:${port}/`
    await outbound.request({ method: 'GET', url, timeoutMs: 5_000 })
    await outbound.request({ method: 'GET', url, timeoutMs: 5_000 })
    assert.deepEqual(looked, ['rebinding.test'])
    assert.equal(requests[0]?.headers.host, `rebinding.test:${port}`)
  })

  test('tries the next address when one does not answer', async (t) => {
    const { port } = await startHttp(t, (_request, response) => response.end())
    const outbound = openOutbound(t, { ...resolving(async () => ['127.0.0.2', '127.0.0.1']) })
    const answer = await outbound.request({
      method: 'GET',
      url: `http://two.test:${port}/`,
      timeoutMs: 5_000,
    })
    assert.equal(answer.status, 200)
  })

  test('refuses other schemes, credentials in the URL, port 0 and what is no URL', async (t) => {
    const outbound = openOutbound(t)
    const urls = [
      'ftp://127.0.0.1/',
      'file:///etc/passwd',
      `http://user:${secret}@127.0.0.1/`,
      'http://127.0.0.1:0/',
      '/x',
    ]
    for (const url of urls) {
      const error = await failCall(outbound, { method: 'GET', url, timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['blocked', false], url)
      assert.doesNotMatch(error.message, /s3cret/)
    }
  })

  test('refuses headers that would change the message itself or break it', async (t) => {
    const { url, requests } = await startHttp(t, (_request, response) => response.end())
    const outbound = openOutbound(t)
    const bad: Record<string, string>[] = [
      { Host: 'inside.test' },
      { 'transfer-encoding': 'chunked' },
      { 'content-length': '1' },
      { connection: 'upgrade' },
      { 'x-split': `a\r\nx-injected: ${secret}` },
      { 'x-wide': `✓ ${secret}` },
      { 'x bad': secret },
    ]
    for (const headers of bad) {
      const error = await failCall(outbound, { method: 'POST', url, headers, timeoutMs: 5_000 })
      assert.deepEqual([error.failure, error.sent], ['blocked', false], JSON.stringify(headers))
      assert.doesNotMatch(error.message, /s3cret/)
    }
    assert.equal(requests.length, 0)
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

function trust(t: TestContext, certificate: string): void {
  setDefaultCACertificates([certificate])
  t.after(() => setDefaultCACertificates([...rootCertificates]))
}
