import { Pool } from 'undici'
import { webhookHeaders } from '../../../server/webhooks/outbound/requests/headers.ts'
import { signEvent } from '../../../server/webhooks/outbound/signing.ts'
import type { Delivery } from '../sample-events.ts'
import { type SideSettings, slots } from './side.ts'

/** Signs an event as PipeCore does and posts it; @throws unless it was taken. */
export function createSignedPost({
  receiverUrl,
  secret,
}: Pick<SideSettings, 'receiverUrl' | 'secret'>): (delivery: Delivery) => Promise<void> {
  const { origin, pathname: path } = new URL(receiverUrl)
  const pool = new Pool(origin, { connections: slots, pipelining: 1 })
  return async ({ id, body: text }) => {
    const now = new Date()
    const body = Buffer.from(text)
    const signed = webhookHeaders(id, now, signEvent(id, body, [secret], now))
    const headers = { 'content-type': 'application/json', ...signed }
    const answer = await pool.request({ path, method: 'POST', headers, body })
    await answer.body.dump()
    if (answer.statusCode >= 300) throw new Error(`The receiver answered ${answer.statusCode}.`)
  }
}
