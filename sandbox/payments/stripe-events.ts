import { createHmac } from 'node:crypto'
import { sendCallback, waitForAnswer } from '../callbacks.ts'
import type { Callback } from '../callbacks.ts'
import type { StripeObject, WebhookEndpoint } from './stripe-objects.ts'
import { API_VERSION, createId, findObject } from './stripe-state.ts'
import type { StripeAccount, StripeEvent, Work } from './stripe-state.ts'

const KEPT_EVENTS = 10_000
const BEFORE_ANSWER_WAIT_MS = 5_000

/** Writes down what happened to an object as it is now; sent when the work is done. */
export function emit(
  work: Work,
  type: string,
  object: StripeObject,
  previous?: Record<string, unknown>,
): void {
  const { account, at, request } = work
  const id = createId('evt')
  const event = {
    id,
    object: 'event',
    ...(account.platform ? { account: account.id } : {}),
    api_version: API_VERSION,
    created: at,
    data: { object, ...(previous ? { previous_attributes: previous } : {}) },
    livemode: account.livemode,
    pending_webhooks: listWanting(account, type).length,
    request,
    type,
  }
  // Indented as Stripe sends it: whoever verifies anything but the raw bytes fails.
  const text = JSON.stringify(event, null, 2)
  const about = 'payment_intent' in object ? String(object.payment_intent) : object.id
  const kept = { id, type, created: at, about, text }
  account.events.push(kept)
  if (account.events.length > KEPT_EVENTS) account.events.shift()
  work.events.push(kept)
}

/** Resolves at once, except when the first webhook must arrive before the answer. */
export async function sendEvents(work: Work): Promise<void> {
  const { world } = work.stripe
  const { callback_delay_ms: delayMs, late_ms: lateMs } = world.settings
  const events = work.events.splice(0).filter(({ type }) => listWanting(work.account, type).length > 0)
  const send = (some: StripeEvent[], afterMs: number) => {
    if (some.length > 0) world.later(afterMs, () => some.forEach((event) => sendEvent(work, event)))
  }
  switch (work.fault?.name) {
    case 'webhook_dropped':
      return
    case 'webhook_reordered':
      return send(events.toReversed(), delayMs)
    case 'webhook_duplicate':
      return send(
        events.flatMap((event) => [event, event]),
        delayMs,
      )
    case 'webhook_late':
      return send(events, delayMs + lateMs)
    case 'webhook_early': {
      send(events.slice(1), delayMs)
      const callbacks = events.slice(0, 1).flatMap((event) => sendEvent(work, event))
      await Promise.all(callbacks.map((callback) => waitForAnswer(world, callback, BEFORE_ANSWER_WAIT_MS)))
      return
    }
    default:
      send(events, delayMs)
  }
}

function sendEvent({ stripe, account }: Work, event: StripeEvent): Callback[] {
  return listWanting(account, event.type).map(({ url, secrets }) =>
    sendCallback(stripe.world, {
      provider: 'stripe',
      account: account.name,
      messageIds: [event.about],
      events: [event.type],
      url,
      lane: `${event.about} ${url}`,
      build(at) {
        const timestamp = Math.floor(at.getTime() / 1_000)
        return {
          headers: {
            'content-type': 'application/json; charset=utf-8',
            'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
            'stripe-signature': signStripe(secrets, timestamp, event.text),
          },
          body: event.text,
        }
      },
      accepts: (status) => status >= 200 && status < 300,
    }),
  )
}

/** `t=…,v1=…`, with one `v1` for each secret while one is being rolled. */
export function signStripe(secrets: readonly string[], timestamp: number, body: string): string {
  const signatures = secrets.map((secret) =>
    createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'),
  )
  return [`t=${timestamp}`, ...signatures.map((signature) => `v1=${signature}`)].join(',')
}

/** The account's own endpoints, and its platform's for connected accounts. */
function listWanting(account: StripeAccount, type: string): Array<{ url: string; secrets: string[] }> {
  const { platform } = account
  return [
    ...listOf(account, (connect) => connect !== 'connected', type),
    ...(platform ? listOf(platform, (connect) => connect !== 'own', type) : []),
  ]
}

function listOf(
  owner: StripeAccount,
  fits: (connect: StripeAccount['endpoints'][number]['connect']) => boolean,
  type: string,
): Array<{ url: string; secrets: string[] }> {
  return owner.endpoints.flatMap(({ id, secrets, connect }) => {
    const endpoint = findObject<WebhookEndpoint>(owner, 'webhook_endpoint', id)
    if (!endpoint || endpoint.status !== 'enabled' || !fits(connect)) return []
    const { enabled_events: wanted, url } = endpoint
    return wanted.includes('*') || wanted.includes(type) ? [{ url, secrets }] : []
  })
}
