import { createHmac, randomBytes } from 'node:crypto'

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
    const key = Buffer.from(secret.slice(secretPrefix.length), 'base64')
    return `v1,${createHmac('sha256', key).update(`${eventId}.${timestamp}.${body}`).digest('base64')}`
  })
  return { 'webhook-id': eventId, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}
