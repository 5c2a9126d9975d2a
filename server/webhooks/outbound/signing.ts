import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { createRecent } from '#core/recent.ts'

const secretPrefix = 'whsec_'
const secretBytes = 32

/** `whsec_` + base64 of 32 random bytes, as Standard Webhooks writes secrets. */
export function createEndpointSecret(): string {
  return secretPrefix + randomBytes(secretBytes).toString('base64')
}

/** Standard Webhooks headers over the exact body; one signature per secret, so both verify while a secret rotates. */
export function signEvent(
  eventId: string,
  body: string,
  secrets: readonly string[],
  at: Date,
): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signatures = secrets.map((secret) => {
    return `v1,${createHmac('sha256', keyOf(secret)).update(`${eventId}.${timestamp}.${body}`).digest('base64')}`
  })
  return { 'webhook-id': eventId, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}

/** Making a key takes longer than signing with it. */
const keys = createRecent<string, KeyObject>({ most: 5_000, forMs: 10 * 60_000 })

function keyOf(secret: string): KeyObject {
  const known = keys.get(secret)
  if (known !== undefined) return known
  const key = createSecretKey(secret.slice(secretPrefix.length), 'base64')
  keys.set(secret, key)
  return key
}
