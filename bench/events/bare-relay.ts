/** The bare loop with a door: takes events over HTTP into memory and posts them on. Nothing is kept. */
import { createServer } from 'node:http'
import { type SampleEvent, toDelivery } from './sample-events.ts'
import { createSignedPost } from './sides/signed-post.ts'

const [port = '0', receiverUrl = '', secret = ''] = process.argv.slice(2)
const post = createSignedPost({ receiverUrl, secret })

const server = createServer((request, response) => {
  if (request.method !== 'POST') return response.writeHead(200).end()
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const delivery = toDelivery(JSON.parse(Buffer.concat(chunks).toString('utf8')) as SampleEvent)
    const answer = JSON.stringify({ id: delivery.id })
    response.writeHead(202, { 'content-type': 'application/json' }).end(answer)
    void post(delivery)
  })
  return undefined
})
server.keepAliveTimeout = 60_000
server.listen(Number(port), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
