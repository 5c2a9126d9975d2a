/** Receives a tenant's events and checks that PipeCore signed them: `node examples/receive-events.ts` */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'

const url = process.env.PIPECORE_URL ?? 'http://127.0.0.1:10000'
const apiKey = process.env.PIPECORE_API_KEY ?? ''
const port = Number(process.env.PORT ?? 8000)
const toleranceSeconds = 300
const seen = new Set<string>() // In production: a table with the id as its primary key.

// In production: make the endpoint once and keep its secret.
const secret = process.env.PIPECORE_WEBHOOK_SECRET ?? (await createEndpoint())
const key = Buffer.from(secret.replace('whsec_', ''), 'base64')

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => response.writeHead(receive(request.headers, Buffer.concat(chunks))).end())
})
server.listen(port, () => console.log(`Waiting for events at http://127.0.0.1:${port}/events`))

/** The status to answer: 2xx once the event is safe, anything else has it sent again. */
function receive(headers: IncomingHttpHeaders, body: Buffer): number {
  if (!isSigned(headers, body)) return 401
  const event = JSON.parse(body.toString('utf8')) as { id: string; event: string; message_id?: string }
  if (!seen.has(event.id)) {
    seen.add(event.id)
    console.log(event.event, event.message_id ?? '')
  }
  return 204
}

/** Over the bytes as they came. While a secret rotates there are several signatures: one that fits is enough. */
function isSigned(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) =>
    String(headers[`webhook-${name}`] ?? ''),
  )
  if (!id || !timestamp || !signatures) return false
  const ageSeconds = Math.abs(Date.now() / 1000 - Number(timestamp))
  if (!(ageSeconds <= toleranceSeconds)) return false
  const hmac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body)
  const expected = Buffer.from(`v1,${hmac.digest('base64')}`)
  return signatures.split(' ').some((signature) => {
    const given = Buffer.from(signature)
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}

async function createEndpoint(): Promise<string> {
  const response = await fetch(`${url}/webhooks/endpoints`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ url: `http://127.0.0.1:${port}/events`, tenant_id: 'tableflow_123' }),
  })
  if (!response.ok) throw new Error(await response.text())
  return ((await response.json()) as { secret: string }).secret
}
