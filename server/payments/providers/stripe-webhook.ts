import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { type CheckResult, equalText, fieldsOf, optional, optionalObject, optionalText } from '#connections'
import { readSignaturePairs, readWebhookJson, verifyAge, verifySignature } from '#connections'
import type { Notice, PaymentProvider } from './provider.ts'
import { listApplying } from './rule-list.ts'
import { present } from './snapshot.ts'
import { type Context, type Credentials, findStripe, readListPage } from './stripe-call.ts'
import { metadata, references, title } from './stripe-mapping.ts'
import { adviseOnEndpoint } from './webhook-doctor.ts'
import { createWordTable } from './word-table.ts'

const missingSecret =
  'Webhooks are refused until webhookSecret is added to this connection (Stripe, Developers, Webhooks, Signing secret).'

const subscriptionDetails = optionalObject({ subscription: optionalText, metadata })

const event = z.looseObject({
  id: z.string().min(1),
  type: z.string(),
  livemode: optional(z.boolean()),
  account: optionalText,
  data: z.looseObject({
    object: z.looseObject({
      ...fieldsOf(optionalText, 'id', 'mode', 'payment_intent', 'subscription'),
      metadata,
      parent: optionalObject({ subscription_details: subscriptionDetails }),
      subscription_details: subscriptionDetails,
    }),
  }),
})
type EventObject = z.output<typeof event>['data']['object']

type Webhooks = Pick<PaymentProvider<Credentials>, 'acknowledgement' | 'verify' | 'owns' | 'parse'>

export const webhooks: Webhooks = {
  acknowledgement: { status: 200 },

  /**
   * `t=…,v1=…` with a `v1` per secret while one is rolled; HMAC-SHA256 over `t.body` under the secret as it is
   * written. Stripe's own library takes a time in the future.
   */
  verify(webhook, { webhookSecret, previousWebhookSecret }, now) {
    const valuesOf = readSignaturePairs(webhook.headers['stripe-signature'])
    const timestamp = /^\d{1,11}$/.exec(valuesOf('t').at(-1) ?? '')?.[0] ?? 'none'
    const verification = verifySignature(webhook, {
      header: 'Stripe-Signature',
      secrets: [webhookSecret, previousWebhookSecret],
      whenSecretMissing: missingSecret,
      whenRefused: 'is webhookSecret that of the endpoint which called?',
      matches: (_header, secret) => {
        const signed = createHmac('sha256', secret).update(`${timestamp}.`).update(webhook.body).digest('hex')
        return valuesOf('v1').some((signature) => equalText(signature, signed))
      },
    })
    const signedAt = { signedAtSeconds: Number(timestamp), mostSeconds: 300, words: 'five minutes' }
    return verifyAge(verification, signedAt, now)
  },

  /** Live and test events, and those of other connected accounts, may be signed with the same secret. */
  owns(webhook, { secretKey, account }) {
    const read = event.safeParse(readWebhookJson(webhook)).data
    return read?.livemode === isLive(secretKey) && (read.account ?? undefined) === account
  },

  parse(webhook) {
    const read = event.safeParse(readWebhookJson(webhook)).data
    if (read === undefined) return []
    const { id: key, type: topic, account, data } = read
    if (topic === 'account.application.deauthorized') {
      const detail = `The account ${account ?? ''} has disconnected the application that the key belongs to.`
      return [{ key, topic, about: 'account', detail }]
    }
    const [about, names = {}] = topics.get(topic)?.(data.object) ?? []
    const known = present<Names>(names)
    return about && Object.keys(known).length > 0 ? [{ key, topic, about, ...known } as Notice] : []
  },
}

function isLive(secretKey: string): boolean {
  return /^.k_live_/.test(secretKey)
}

type Named =
  | 'providerPaymentId'
  | 'providerCheckoutId'
  | 'paymentId'
  | 'providerSubscriptionId'
  | 'subscriptionId'
type Names = Partial<Record<Named, string | null>>
type Reader = (object: EventObject) => [about: 'payment' | 'subscription', Names] | undefined

const readIntent: Reader = ({ id, metadata: own }) => {
  return ['payment', { providerPaymentId: id, paymentId: own?.[references.payment] }]
}

/** Refunds, disputes and charges name the payment they are of. */
const readMoney: Reader = ({ payment_intent: providerPaymentId }) => ['payment', { providerPaymentId }]

const readPage: Reader = ({ id: providerCheckoutId, mode, payment_intent: providerPaymentId, ...page }) => {
  if (mode === 'subscription') return nameSubscription(page.subscription, page.metadata)
  const paymentId = page.metadata?.[references.payment]
  return mode === 'payment' ? ['payment', { providerCheckoutId, providerPaymentId, paymentId }] : undefined
}

const readSubscription: Reader = ({ id, metadata: own }) => nameSubscription(id, own)

/** Endpoints have a version of their own, and older ones name the subscription elsewhere. */
const readInvoice: Reader = ({ parent, ...invoice }) => {
  const details = parent?.subscription_details ?? invoice.subscription_details
  return nameSubscription(details?.subscription ?? invoice.subscription, details?.metadata)
}

function nameSubscription(id: string | null | undefined, own: EventObject['metadata']): ReturnType<Reader> {
  return ['subscription', { providerSubscriptionId: id, subscriptionId: own?.[references.subscription] }]
}

const readers: ReadonlyArray<readonly [family: string, events: string, read: Reader]> = [
  ['payment_intent', 'succeeded amount_capturable_updated payment_failed canceled', readIntent],
  ['payment_intent', 'requires_action processing', readIntent],
  ['refund', 'created updated failed', readMoney],
  ['charge', 'refunded refund.updated dispute.created dispute.updated dispute.closed', readMoney],
  ['checkout.session', 'completed async_payment_succeeded async_payment_failed expired', readPage],
  ['customer.subscription', 'created updated deleted paused resumed trial_will_end', readSubscription],
  ['invoice', 'paid payment_failed payment_action_required marked_uncollectible voided', readInvoice],
]

const topics = createWordTable(
  readers.map(([family, events, read]) => [read, events.replaceAll(/\S+/g, `${family}.$&`)] as const),
)

/** What an endpoint at Stripe has to be told to send. */
export const wantedTopics = [...topics.keys()].filter((topic) => topic !== 'charge.refund.updated')

const accountAnswer = z.looseObject({ id: z.string(), charges_enabled: optional(z.boolean()) })
const paymentAnswer = z.looseObject({ id: z.string() })
const endpointAnswer = z
  .looseObject({
    ...fieldsOf(z.string(), 'id', 'url'),
    status: optionalText,
    enabled_events: z.array(z.string()).catch([]),
  })
  .transform(({ id, url, status, enabled_events: topics }) => {
    return { id, url, isDisabled: status === 'disabled', topics }
  })

/** Tries what payments need; what only helps a person is told where the key may see it. */
export async function check(context: Context): Promise<CheckResult> {
  const { secretKey, account, webhookSecret } = context.credentials
  const tried = await readListPage(context, { path: ['payment_intents'], item: paymentAnswer })
  if (tried.outcome !== 'done')
    return { ok: false, notes: [tried.error.message, ...adviseKey(context.credentials)] }
  const owner = await checkAccount(context)
  const notes = [
    `${title} accepts the key${account ? ` for ${account}` : ''}.`,
    isLive(secretKey)
      ? 'It is a live key: payments take real money.'
      : 'It is a test key: it takes test cards only and moves no money.',
    ...owner.notes,
    ...(webhookSecret === undefined ? [missingSecret] : []),
    ...(await checkEndpoint(context)),
  ]
  return { ok: owner.ok, notes }
}

function adviseKey({ secretKey, account }: Credentials): string[] {
  const mode = isLive(secretKey) ? 'live' : 'test'
  return listApplying([
    [
      secretKey.startsWith('rk_'),
      'A restricted key needs to write PaymentIntents, Refunds, Checkout Sessions, Customers and Subscriptions.',
    ],
    [
      account !== undefined,
      `The key has to be of the platform that ${account} is connected to in ${mode} mode.`,
    ],
  ])
}

async function checkAccount(context: Context): Promise<CheckResult> {
  const outcome = await findStripe(context, accountAnswer, ['account'])
  if (outcome.outcome !== 'done' || !outcome.found) return { ok: true, notes: [] }
  const { id, charges_enabled: mayCharge } = outcome.found
  const { account = id } = context.credentials
  if (id !== account) return { ok: false, notes: [`The key answers for ${id}, not for ${account}.`] }
  if (mayCharge !== false) return { ok: true, notes: [`The account is ${id}.`] }
  const note = `The account ${id} may not charge yet: complete it in the Dashboard of ${title}.`
  return { ok: false, notes: [note] }
}

/** Endpoints for connected accounts belong to the platform. */
async function checkEndpoint(context: Context): Promise<string[]> {
  const { webhookUrl, credentials } = context
  const platform = { ...context, credentials: { ...credentials, account: undefined } }
  const page = await readListPage(platform, { path: ['webhook_endpoints'], item: endpointAnswer })
  return page.outcome === 'done'
    ? adviseOnEndpoint(title, webhookUrl, page.items, wantedTopics)
    : [`Whether ${title} reports to ${webhookUrl} can not be seen with this key.`]
}
