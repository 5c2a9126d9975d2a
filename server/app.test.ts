import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { startTestServer } from './testing/server.ts'

const { server, adminKey } = await startTestServer({ after }, { role: 'api' })
const { port, hostname } = new URL(server.url)

const json = 'Content-Type: application/json'
const key = `Authorization: Bearer ${adminKey}`
/** More than the buffers of both ends hold, so that the caller is still writing when it is refused. */
const chunk = Buffer.alloc(64 * 1024, 'a')
const chunks = 320
const length = `Content-Length: ${chunk.length * chunks}`

describe('a caller that reads nothing before it has written everything gets the whole problem', () => {
  const refused: Array<[what: string, head: string[], status: number, code: string]> = [
    ['too long a body', ['POST /tenants', key, json, length], 413, 'body_too_large'],
    ['no key', ['POST /tenants', json, length], 401, 'key_missing'],
    ['a path that is none', ['POST /nowhere', key, 'Content-Type: text/csv', length], 404, 'path_not_found'],
    ['a long body to no path', ['POST /nowhere', key, json, length], 413, 'body_too_large'],
    ['a media type', ['POST /tenants', key, 'Content-Type: text/csv', length], 415, 'media_type_unsupported'],
    ['a malformed path', ['POST /tenants/%zz', key, json, length], 400, 'url_malformed'],
    ['two lengths', ['POST /tenants', length, 'Content-Length: 5'], 400, 'request_malformed'],
  ]
  for (const [what, head, status, code] of refused) {
    test(`${what}: ${status}`, async () => {
      assertProblem(await writeThenRead(head, () => chunk), status, code)
    })
  }

  test('a body in chunks that turns out too long: 413', async () => {
    const head = ['POST /tenants', key, json, 'Transfer-Encoding: chunked']
    const size = Buffer.from(`${chunk.length.toString(16)}\r\n`)
    const answer = await writeThenRead(head, (last) =>
      Buffer.concat([size, chunk, Buffer.from(last ? '\r\n0\r\n\r\n' : '\r\n')]),
    )
    assertProblem(answer, 413, 'body_too_large')
  })

  test('headers without an end: 431', async () => {
    const line = Buffer.from(`X-Name: ${'a'.repeat(8_000)}\r\n`)
    assertProblem(await writeThenRead(['GET /health'], () => line), 431, 'headers_too_large')
  })
})

test('a caller that goes on writing all the same is cut off', async () => {
  const socket = connect({ port: Number(port), host: hostname })
  const step = Buffer.alloc(1024 * 1024, 'a')
  const head = ['POST /tenants HTTP/1.1', 'Host: pipecore', key, json, `Content-Length: ${2 ** 40}`]
  await write(socket, Buffer.from(`${head.join('\r\n')}\r\n\r\n`))
  const broken = new Promise<true>((resolve) => socket.once('error', () => resolve(true)))
  for (let megabytes = 0; ; megabytes += 1) {
    assert.ok(megabytes < 200, 'it still reads')
    const written = write(socket, step).then(
      () => false,
      () => true,
    )
    if (await Promise.race([written, broken])) return
  }
})

/** Writes everything before it reads anything; what the other end does meanwhile is seen when it reads. */
async function writeThenRead(head: string[], next: (last: boolean) => Buffer): Promise<string> {
  const [first = '', ...others] = head
  const socket = connect({ port: Number(port), host: hostname })
  const closed = once(socket, 'close').then(([failed]) => assert.ok(failed !== true, 'the connection broke'))
  socket.pause()
  const lines = [`${first} HTTP/1.1`, 'Host: pipecore', ...others]
  const end = first.startsWith('GET') ? '\r\n' : '\r\n\r\n'
  await write(socket, Buffer.from(lines.join('\r\n') + end))
  for (let count = 1; count <= chunks; count += 1)
    await Promise.race([write(socket, next(count === chunks)), closed])
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part)).resume()
  await closed
  return Buffer.concat(parts).toString()
}

function write(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}

function assertProblem(answer: string, status: number, code: string): void {
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `))
  assert.match(head, /content-type: application\/problem\+json/i)
  assert.match(head, /connection: close/i)
  assert.match(head, new RegExp(`content-length: ${Buffer.byteLength(body)}$`, 'im'))
  assert.equal((JSON.parse(body) as { code: string }).code, code)
}
