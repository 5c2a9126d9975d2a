import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { equalText, optional, optionalObject, optionalText, readWebhookJson } from '#connections'
import { verifySignature } from '#connections'
import type { RawWebhook, Verification } from '#connections'
import type { Notice } from './provider.ts'
import type { StripeKeys } from './stripe-call.ts'
import { references } from './stripe-mapping.ts'

export interface WebhookKeys extends StripeKeys {
  webhookSecret?: string | undefined
  previousWebhookSecret?: string | undefined
}

const toleranceSeconds = 300

export const missingSecret =
  'Webhooks are refused until webhookSecret is added to this connection (Stripe, Developers, Webhooks, Signing secret).'

/**
 * `t=…,v1=…` with a `v1` per secret while one is rolled; HMAC-SHA256 over `t.body` under the secret as it is written.
 * Stripe's own library takes a time in the future.
 */
export function verifyStripeEvent(webhook: RawWebhook, account: WebhookKeys, now: Date): Verification {
  const { timestamp, signatures } = readSignature(webhook)
  const verification = verifySignature(webhook, {
    header: 'Stripe-Signature',
    secrets: [account.webhookSecret, account.previousWebhookSecret],
    whenSecretMissing: missingSecret,
    whenRefused: 'is webhookSecret that of the endpoint which called?',
    matches: (_header, secret) => {
      const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(webhook.body).digest('hex')
      return signatures.some((signature) => equalText(signature, expected))
    },
  })
  if (!verification.ok) return verification
  const ageSeconds = Math.floor(now.getTime() / 1000) - Number(timestamp)
  if (Math.abs(ageSeconds) <= toleranceSeconds) return { ok: true }
  const reason = 'It was signed more than five minutes ago or in the future.'
  return { ok: false, check: 'timestamp', reason }
}

function readSignature({ headers }: RawWebhook): { timestamp: string; signatures: string[] } {
  const pairs = (headers['stripe-signature'] ?? '').split(',').map((pair) => pair.trim().split('='))
  const valuesOf = (name: string) => pairs.filter(([given]) => given === name).map(([, value]) => value ?? '')
  const timestamp = valuesOf('t').at(-1) ?? ''
  return { timestamp: /^\d{1,11}$/.test(timestamp) ? timestamp : 'none', signatures: valuesOf('v1') }
}

const metadata = optional(z.record(z.string(), z.string()))
const subscriptionDetails = optionalObject({ subscription: optionalText, metadata })

const event = z.looseObject({
  id: z.string().min(1),
  type: z.string(),
  livemode: optional(z.boolean()),
  account: optionalText,
  data: z.looseObject({
    object: z.looseObject({
      id: optionalText,
      mode: optionalText,
      payment_intent: optionalText,
      subscription: optionalText,
      metadata,
      parent: optionalObject({ subscription_details: subscriptionDetails }),
      subscription_details: subscriptionDetails,
    }),
  }),
})
type EventObject = z.output<typeof event>['data']['object']

/** Live and test events, and those of other connected accounts, may be signed with the same secret. */
export function ownsStripeEvent(webhook: RawWebhook, { secretKey, account }: StripeKeys): boolean {
  const read = event.safeParse(readWebhookJson(webhook)).data
  return read?.livemode === isLive(secretKey) && (read.account ?? undefined) === account
}

export function isLive(secretKey: string): boolean {
  return /^.k_live_/.test(secretKey)
}

export function parseStripeEvent(webhook: RawWebhook): Notice[] {
  const read = event.safeParse(readWebhookJson(webhook)).data
  if (read === undefined) return []
  const { id: key, type: topic, account, data } = read
  if (topic === 'account.application.deauthorized') {
    const detail = `The account ${account ?? ''} has disconnected the application that the key belongs to.`
    return [{ key, topic, about: 'account', detail }]
  }
  const about = topics.get(topic)?.(data.object)
  return about ? [{ key, topic, ...about }] : []
}

type About =
  | Omit<Extract<Notice, { about: 'payment' }>, 'key' | 'topic'>
  | Omit<Extract<Notice, { about: 'subscription' }>, 'key' | 'topic'>
type Reader = (object: EventObject) => About | undefined

function readIntentEvent(intent: EventObject): About | undefined {
  return aboutPayment({ providerPaymentId: intent.id, paymentId: intent.metadata?.[references.payment] })
}

/** Refunds, disputes and charges name the payment they are of. */
function readMoneyEvent({ payment_intent: providerPaymentId }: EventObject): About | undefined {
  return aboutPayment({ providerPaymentId })
}

function readPageEvent(page: EventObject): About | undefined {
  const { id, mode, payment_intent: intent, subscription } = page
  if (mode === 'subscription') return aboutSubscription(subscription, page.metadata)
  if (mode !== 'payment') return undefined
  const paymentId = page.metadata?.[references.payment]
  return aboutPayment({ providerCheckoutId: id, providerPaymentId: intent, paymentId })
}

function readSubscriptionEvent(subscription: EventObject): About | undefined {
  return aboutSubscription(subscription.id, subscription.metadata)
}

/** Endpoints have a version of their own, and older ones name the subscription elsewhere. */
function readInvoiceEvent({ parent, ...invoice }: EventObject): About | undefined {
  const details = parent?.subscription_details ?? invoice.subscription_details
  return aboutSubscription(details?.subscription ?? invoice.subscription, details?.metadata)
}

type Named<Name extends string> = Partial<Record<Name, string | null | undefined>>

function aboutPayment(
  names: Named<'providerPaymentId' | 'providerCheckoutId' | 'paymentId'>,
): About | undefined {
  const known = Object.entries(names).filter(([, name]) => name)
  return known.length > 0 ? { about: 'payment', ...Object.fromEntries(known) } : undefined
}

function aboutSubscription(
  providerSubscriptionId: string | null | undefined,
  named: z.output<typeof metadata>,
): About | undefined {
  const subscriptionId = named?.[references.subscription]
  if (!providerSubscriptionId && !subscriptionId) return undefined
  return {
    about: 'subscription',
    ...(providerSubscriptionId && { providerSubscriptionId }),
    ...(subscriptionId && { subscriptionId }),
  }
}

const readers: ReadonlyArray<readonly [family: string, events: string, read: Reader]> = [
  ['payment_intent', 'succeeded amount_capturable_updated payment_failed canceled', readIntentEvent],
  ['payment_intent', 'requires_action processing', readIntentEvent],
  ['refund', 'created updated failed', readMoneyEvent],
  ['charge', 'refunded refund.updated dispute.created dispute.updated dispute.closed', readMoneyEvent],
  ['checkout.session', 'completed async_payment_succeeded async_payment_failed expired', readPageEvent],
  ['customer.subscription', 'created updated deleted paused resumed trial_will_end', readSubscriptionEvent],
  ['invoice', 'paid payment_failed payment_action_required marked_uncollectible voided', readInvoiceEvent],
]

const topics: ReadonlyMap<string, Reader> = new Map(
  readers.flatMap(([family, events, read]) =>
    events.split(' ').map((name) => [`${family}.${name}`, read] as const),
  ),
)

/** What an endpoint at Stripe has to be told to send. */
export const wantedTopics = [...topics.keys()].filter((topic) => topic !== 'charge.refund.updated')
