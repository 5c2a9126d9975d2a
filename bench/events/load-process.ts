/** Posts events over a number of connections for some seconds and prints how many were taken, as JSON. */
import { Client, type Dispatcher } from 'undici'
import { sampleEvents } from './sample-events.ts'

const [url = '', key = '', connections = '32', seconds = '4', tenants = '4'] = process.argv.slice(2)
const { origin, pathname: path } = new URL(url)
const bodies = sampleEvents(512, Number(tenants)).map((event) => JSON.stringify(event))
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
const endAt = performance.now() + Number(seconds) * 1000
let taken = 0
let failed = 0

function post(client: Client, index: number): Promise<void> {
  const body = bodies[index % bodies.length] ?? ''
  return new Promise((resolve) => {
    let status = 0
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => void (status = statusCode),
      onResponseData: () => undefined,
      onResponseEnd: () => {
        if (status === 202) taken += 1
        else failed += 1
        resolve()
      },
      onResponseError: () => {
        failed += 1
        resolve()
      },
    }
    client.dispatch({ path, method: 'POST', headers, body }, handler)
  })
}

async function keepPosting(place: number): Promise<void> {
  const client = new Client(origin, { pipelining: 1 })
  for (let index = place; performance.now() < endAt; index += 1) await post(client, index)
  await client.close()
}

const startedAt = performance.now()
await Promise.all(Array.from({ length: Number(connections) }, (_, place) => keepPosting(place * 7)))
const took = (performance.now() - startedAt) / 1000
process.stdout.write(`${JSON.stringify({ taken, failed, perSecond: taken / took })}\n`)
