/** Posts events over a number of connections for some seconds and prints how many were taken, as JSON. */
import { connect, type Socket } from 'node:net'
import { sampleEvents } from './sample-events.ts'

const [url = '', key = '', connections = '32', seconds = '4', tenants = '4'] = process.argv.slice(2)
const { hostname, port, host, pathname: path } = new URL(url)
// It shares the machine with what it measures, so it does no more than write what is ready and read what it must.
const requests = sampleEvents(512, Number(tenants)).map(toRequest)
const endAt = performance.now() + Number(seconds) * 1000
let taken = 0
let failed = 0

function toRequest(event: object): Buffer {
  const body = JSON.stringify(event)
  const head = [
    `POST ${path} HTTP/1.1`,
    `host: ${host}`,
    'connection: keep-alive',
    `authorization: Bearer ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** Of the answer that begins here; undefined while more of it is to come. */
function readStatus(answer: Buffer): number | undefined {
  const headEnd = answer.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const head = answer.toString('latin1', 0, headEnd)
  const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
  if (length === undefined) return readChunked(answer, head)
  return answer.length < headEnd + 4 + Number(length) ? undefined : statusOf(head)
}

function readChunked(answer: Buffer, head: string): number | undefined {
  return answer.subarray(-5).toString('latin1') === '0\r\n\r\n' ? statusOf(head) : undefined
}

function statusOf(head: string): number {
  return Number(head.slice(9, 12))
}

function keepPosting(place: number): Promise<void> {
  return new Promise((resolve) => {
    let index = place
    let answer: Buffer | undefined
    const socket: Socket = connect({ port: Number(port), host: hostname, noDelay: true })
    const post = () => socket.write(requests[index++ % requests.length] ?? '')
    socket.on('connect', post)
    socket.on('data', (part: Buffer) => {
      answer = answer === undefined ? part : Buffer.concat([answer, part])
      const status = readStatus(answer)
      if (status === undefined) return
      answer = undefined
      if (status === 202) taken += 1
      else failed += 1
      if (performance.now() < endAt) post()
      else socket.end()
    })
    socket.on('error', () => (failed += 1))
    socket.on('close', () => resolve())
  })
}

const startedAt = performance.now()
await Promise.all(Array.from({ length: Number(connections) }, (_, place) => keepPosting(place * 7)))
const took = (performance.now() - startedAt) / 1000
process.stdout.write(`${JSON.stringify({ taken, failed, perSecond: taken / took })}\n`)
