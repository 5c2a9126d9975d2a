import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { type CheckResult, equalText, fieldsOf, idText, optional, optionalId } from '#connections'
import { optionalObject, optionalText, readSignaturePairs, readWebhookJson, thenDone } from '#connections'
import { verifyAge, verifySignature } from '#connections'
import type { Outcome, RawWebhook } from '#connections'
import { type Context, type Credentials, findMercadopago, findPaymentById } from './mercadopago-call.ts'
import { readAccount } from './mercadopago-call.ts'
import { type PaymentAnswer, periodAnswer, readPaymentId } from './mercadopago-mapping.ts'
import type { Notice, PaymentNotice, PaymentProvider } from './provider.ts'
import { listApplying } from './rule-list.ts'
import { present } from './snapshot.ts'
import { createWordTable } from './word-table.ts'

const missingSecret =
  'Webhooks are refused until webhookSecret is added to this connection (Your integrations, Webhooks, Secret signature).'

const notification = z.looseObject({
  ...fieldsOf(optionalId, 'id', 'user_id'),
  ...fieldsOf(optionalText, 'type', 'topic', 'action', 'resource'),
  data: optionalObject({ id: optionalId }),
})

type Webhooks = Pick<PaymentProvider<Credentials>, 'acknowledgement' | 'verify' | 'owns' | 'parse' | 'locate'>

export const webhooks: Webhooks = {
  acknowledgement: { status: 200 },

  /**
   * The signature covers the id in the query, the request id and the time, never the body: what became of the
   * resource is always read. As a hint anything may come, for it can do no more than make us read.
   */
  verify(webhook, account, now) {
    if (account.webhookMode === 'hint') return { ok: true, isHint: true }
    const valuesOf = readSignaturePairs(webhook.headers['x-signature'])
    const ts = /^\d{1,16}$/.exec(valuesOf('ts').at(-1) ?? '')?.[0]
    const v1 = valuesOf('v1').at(-1) ?? ''
    const verification = verifySignature(webhook, {
      header: 'x-signature',
      secrets: [account.webhookSecret, account.previousWebhookSecret],
      whenSecretMissing: missingSecret,
      whenRefused:
        'tried with data.id of the query as it came and in lower case. Is webhookSecret that of the application which called, and of the same mode (test or production)?',
      matches: (_header, secret) =>
        listManifests(webhook, ts).some((manifest) =>
          equalText(v1, createHmac('sha256', secret).update(manifest).digest('hex')),
        ),
    })
    const hours = account.webhookToleranceHours
    // Milliseconds by the documents, seconds in their example.
    const signedAtSeconds = Number(ts) >= 1e12 ? Number(ts) / 1000 : Number(ts)
    const age = { signedAtSeconds, mostSeconds: hours * 3600, aheadSeconds: 600, words: `${hours} hours` }
    return verifyAge(verification, age, now)
  },

  /** The seller's number ends the access tokens of today; of others nothing is known, and the signature has to do. */
  owns(webhook, { accessToken }) {
    const [, seller] = /^(?:APP_USR|TEST)-\d+-\d+-\w+-(\d+)$/.exec(accessToken) ?? []
    const named = notification.safeParse(readWebhookJson(webhook)).data?.user_id
    return !seller || !named || named === seller
  },

  parse(webhook, receivedAt) {
    const { query, headers } = webhook
    const body = notification.safeParse(readWebhookJson(webhook)).data
    const type = body?.type ?? query.get('type') ?? body?.topic ?? query.get('topic') ?? ''
    const id =
      query.get('data.id') ?? body?.data?.id ?? query.get('id') ?? body?.resource?.split('/').at(-1) ?? ''
    if (type === '' || !/^[\w-]{1,64}$/.test(id)) return []
    const action = /^[\w.]{1,64}$/.exec(body?.action ?? '')?.[0]
    const isLegacy = body?.data?.id === undefined && action === undefined
    // The older notifications say nothing that tells two of them apart.
    const occasion = (isLegacy ? undefined : body?.id) ?? headers['x-request-id'] ?? receivedAt.toISOString()
    const about = {
      key: [type, id, action, occasion.slice(0, 64)].filter(Boolean).join(':'),
      topic: action?.includes('.') ? action : [type, action].filter(Boolean).join('.'),
    }
    if (type === 'mp-connect') return [{ ...about, about: 'account', detail: action ?? type }]
    const resource = resources.get(type)
    // Its ids are lower case; webhooks about them are not always.
    if (resource === 'preapproval')
      return [{ ...about, about: 'subscription', providerSubscriptionId: id.toLowerCase() }]
    if (resource === undefined) return []
    const own = resource === 'payment' && { own: tellPayment(about, id) }
    return [{ ...about, about: 'resource', resource, id, ...own }]
  },

  /** A payment too: on a page of MercadoPago it got an id that we have not seen. */
  async locate(notice, context) {
    const find = finders[notice.resource]
    return find ? find(notice, context) : { outcome: 'done', notices: [] }
  },
}

/** Of the documents and SDKs some lower the case of the id and some do not; what is absent is left out. */
function listManifests({ query, headers }: RawWebhook, ts: string | undefined): string[] {
  if (ts === undefined) return []
  const id = query.get('data.id')?.trim() ?? ''
  const requestId = headers['x-request-id']?.trim()
  return [...new Set([id, id.toLowerCase()])].map(
    (one) => `${one && `id:${one};`}${requestId ? `request-id:${requestId};` : ''}ts:${ts};`,
  )
}

const resources = createWordTable([
  ['payment', 'payment'],
  ['preapproval', 'subscription_preapproval preapproval'],
  ['authorized_payment', 'subscription_authorized_payment authorized_payment'],
  ['merchant_order', 'topic_merchant_order_wh merchant_order'],
  ['chargeback', 'topic_chargebacks_wh chargebacks'],
])

const orderAnswer = z.looseObject({
  external_reference: optionalText,
  payments: optional(z.array(z.looseObject({ id: idText }))),
})
const chargebackAnswer = z
  .looseObject({ payments: optional(z.array(idText)), payment_id: optionalId })
  .transform(({ payments, payment_id: single }) => payments ?? (single ? [single] : []))

type Resource = Extract<Notice, { about: 'resource' }>
type Located = Promise<Outcome<{ notices: readonly Notice[] }>>

const finders: Readonly<Record<string, (notice: Resource, context: Context) => Located>> = {
  payment: (notice, context) => locatePayments(notice, [notice.id], context),

  authorized_payment: (notice, context) =>
    thenDone(findMercadopago(context, periodAnswer, 'authorized_payments', notice.id), ({ found }) => ({
      outcome: 'done',
      notices: tellSubscription(notice, found?.preapproval_id, found?.external_reference),
    })),

  merchant_order: (notice, context) =>
    thenDone(findMercadopago(context, orderAnswer, 'merchant_orders', notice.id), ({ found }) => {
      const paymentId = readPaymentId(found?.external_reference)
      const paid = (paymentId && found?.payments) || []
      return { outcome: 'done', notices: paid.map(({ id }) => tellPayment(notice, id, paymentId)) }
    }),

  chargeback: (notice, context) =>
    thenDone(findMercadopago(context, chargebackAnswer, 'v1', 'chargebacks', notice.id), ({ found }) =>
      locatePayments(notice, found ?? [], context),
    ),
}

async function locatePayments(notice: Resource, ids: readonly string[], context: Context): Located {
  const notices: Notice[] = []
  for (const id of ids) {
    const outcome = await findPaymentById(id, context)
    if (outcome.outcome !== 'done') return outcome
    if (outcome.found) notices.push(...tellOwners(notice, outcome.found))
  }
  return { outcome: 'done', notices }
}

/**
 * A payment without our reference is the seller's own business. What a subscription charges is a payment as well,
 * under the subscription's reference; the subscription is told first, for it knows its payments.
 */
function tellOwners(notice: Resource, payment: PaymentAnswer): Notice[] {
  const { id, external_reference: reference, point_of_interaction: origin } = payment
  const paymentId = readPaymentId(reference)
  const paid = tellPayment(notice, id, paymentId)
  if (paymentId) return [paid]
  const subscribed = tellSubscription(notice, origin?.transaction_data?.subscription_id, reference)
  return subscribed.length > 0 ? [...subscribed, paid] : []
}

function tellPayment(
  { key, topic }: Pick<Notice, 'key' | 'topic'>,
  providerPaymentId: string,
  paymentId?: string,
): PaymentNotice {
  return present<PaymentNotice>({
    key: `${key}:${providerPaymentId}`,
    topic,
    about: 'payment',
    providerPaymentId,
    paymentId,
  })
}

function tellSubscription(
  { key, topic }: Resource,
  providerSubscriptionId: string | null | undefined,
  reference: string | null | undefined,
): Notice[] {
  const subscriptionId = /^sub_\w+$/.exec(reference ?? '')?.[0]
  if (!providerSubscriptionId && !subscriptionId) return []
  const about = { key: `${key}:subscription`, topic, about: 'subscription' } as const
  return [present<Notice>({ ...about, providerSubscriptionId, subscriptionId })]
}

export async function check(context: Context): Promise<CheckResult> {
  const { accessToken, webhookSecret, webhookMode, currency } = context.credentials
  const account = await readAccount(context)
  if (account.outcome !== 'done') return { ok: false, notes: [account.error.message] }
  const { name, country, own, isTestUser } = account
  const isTest = accessToken.startsWith('TEST-')
  const isOther = own !== undefined && currency !== undefined && own !== currency
  const isHint = webhookMode === 'hint'
  const notes = listApplying([
    [true, `MercadoPago accepts the access token: account ${JSON.stringify(name)}, ${country}.`],
    [isTest, modes.test],
    [!isTest && isTestUser, modes.testUser],
    [!isTest && !isTestUser, modes.production],
    [isOther, `The account charges in ${own}, not in ${currency}: set currency to ${own}.`],
    [
      own !== undefined && currency === undefined,
      `The account charges in ${own}: set currency to ${own} to spare a call per direct payment.`,
    ],
    [isHint, hintsTaken],
    [!isHint && webhookSecret === undefined, missingSecret],
    [
      true,
      `Subscriptions and chargebacks are reported only to the address in MercadoPago’s panel (Your integrations, Webhooks): enter ${context.webhookUrl} there.`,
    ],
  ])
  return { ok: !isOther, notes }
}

const modes = {
  test: 'These are test credentials: no payment moves money. For real ones enter the APP_USR- token.',
  testUser: 'The account is a test user: only other test users can pay, and no payment moves money.',
  production: 'These are production credentials: payments move money, and test users can not pay.',
}

const hintsTaken =
  'Webhooks are taken without a good signature too, as hints that make PipeCore ask MercadoPago: set webhookMode to strict once real deliveries pass.'
