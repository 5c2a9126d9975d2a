import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { equalText, optional, optionalObject, optionalText, readWebhookJson } from '#connections'
import { verifySignature } from '#connections'
import type { Outcome, RawWebhook, Verification } from '#connections'
import { callMercadopago, type Context, type Credentials, idText } from './mercadopago-account.ts'
import { isMissing, missingSecret } from './mercadopago-account.ts'
import { type PaymentAnswer, readPaymentId } from './mercadopago-mapping.ts'
import { fetchPayment } from './mercadopago-reading.ts'
import { periodAnswer } from './mercadopago-periods.ts'
import type { Notice } from './provider.ts'

const notification = z.looseObject({
  id: optional(idText),
  type: optionalText,
  topic: optionalText,
  action: optionalText,
  user_id: optional(idText),
  resource: optionalText,
  data: optionalObject({ id: optional(idText) }),
})

const aheadMs = 10 * 60_000

/**
 * The signature covers the id in the query, the request id and the time, never the body: what became of the resource
 * is always read. As a hint anything may come, for it can do no more than make us read.
 */
export function verify(webhook: RawWebhook, account: Credentials, now: Date): Verification {
  const verification = verifySigned(webhook, account, now)
  return account.webhookMode === 'hint' ? { ok: true } : verification
}

function verifySigned(webhook: RawWebhook, account: Credentials, now: Date): Verification {
  const { ts, v1 } = readSignature(webhook.headers['x-signature'] ?? '')
  const verification = verifySignature(webhook, {
    header: 'x-signature',
    secrets: [account.webhookSecret, account.previousWebhookSecret],
    whenSecretMissing: missingSecret,
    whenRefused:
      'tried with data.id of the query as it came and in lower case. Is webhookSecret that of the application which called, and of the same mode (test or production)?',
    matches: (_signature, secret) =>
      listManifests(webhook, ts).some((manifest) =>
        equalText(v1, createHmac('sha256', secret).update(manifest).digest('hex')),
      ),
  })
  if (!verification.ok) return verification
  const ageMs = now.getTime() - readSignedAt(ts)
  if (ageMs <= account.webhookToleranceHours * 3600_000 && ageMs >= -aheadMs) return { ok: true }
  return {
    ok: false,
    check: 'timestamp',
    reason: `It was signed more than ${account.webhookToleranceHours} hours ago or in the future.`,
  }
}

function readSignature(header: string): { ts: string; v1: string } {
  const parts = header.split(',').map((part): [string, string] => {
    const [name = '', ...value] = part.split('=')
    return [name.trim().toLowerCase(), value.join('=').trim()]
  })
  const { ts = '', v1 = '' } = Object.fromEntries(parts)
  return /^\d{1,16}$/.test(ts) ? { ts, v1 } : { ts: '', v1: '' }
}

/** Of the documents and SDKs some lower the case of the id and some do not; what is absent is left out. */
function listManifests({ query, headers }: RawWebhook, ts: string): string[] {
  if (ts === '') return []
  const id = query.get('data.id')?.trim() ?? ''
  const requestId = headers['x-request-id']?.trim()
  return [...new Set([id, id.toLowerCase()])].map(
    (one) => `${one && `id:${one};`}${requestId ? `request-id:${requestId};` : ''}ts:${ts};`,
  )
}

/** Milliseconds by the documents, seconds in their example. */
function readSignedAt(ts: string): number {
  return Number(ts) >= 1e12 ? Number(ts) : Number(ts) * 1000
}

/** The seller's number ends the access tokens of today; of others nothing is known, and the signature has to do. */
export function owns(webhook: RawWebhook, { accessToken }: Credentials): boolean {
  const [, seller] = /^(?:APP_USR|TEST)-\d+-\d+-\w+-(\d+)$/.exec(accessToken) ?? []
  const named = notification.safeParse(readWebhookJson(webhook)).data?.user_id
  return !seller || !named || named === seller
}

export function parse(webhook: RawWebhook, receivedAt: Date): Notice[] {
  const { query, headers } = webhook
  const body = notification.safeParse(readWebhookJson(webhook)).data
  const type = body?.type ?? query.get('type') ?? body?.topic ?? query.get('topic') ?? ''
  const id = query.get('data.id') ?? body?.data?.id ?? query.get('id') ?? body?.resource?.split('/').at(-1)
  if (type === '' || !id || !/^[\w-]{1,64}$/.test(id)) return []
  const action = /^[\w.]{1,64}$/.exec(body?.action ?? '')?.[0]
  const isLegacy = body?.data?.id === undefined && action === undefined
  // The older notifications say nothing that tells two of them apart.
  const occasion = (isLegacy ? undefined : body?.id) ?? headers['x-request-id'] ?? receivedAt.toISOString()
  const about = {
    key: [type, id, action, occasion.slice(0, 64)].filter(Boolean).join(':'),
    topic: action?.includes('.') ? action : [type, action].filter(Boolean).join('.'),
  }
  if (type === 'mp-connect') return [{ ...about, about: 'account', detail: action ?? type }]
  if (type === 'subscription_preapproval' || type === 'preapproval') {
    // Its ids are lower case; webhooks about them are not always.
    return [{ ...about, about: 'subscription', providerSubscriptionId: id.toLowerCase() }]
  }
  const resource = resources.get(type)
  return resource === undefined ? [] : [{ ...about, about: 'resource', resource, id }]
}

/** A payment too: on a page of MercadoPago it got an id that we have not seen. */
const resources: ReadonlyMap<string, string> = new Map([
  ['payment', 'payment'],
  ['subscription_authorized_payment', 'authorized_payment'],
  ['authorized_payment', 'authorized_payment'],
  ['topic_merchant_order_wh', 'merchant_order'],
  ['merchant_order', 'merchant_order'],
  ['topic_chargebacks_wh', 'chargeback'],
  ['chargebacks', 'chargeback'],
])

type Resource = Extract<Notice, { about: 'resource' }>
type Located = Outcome<{ notices: readonly Notice[] }>

export async function locate(notice: Resource, context: Context): Promise<Located> {
  const find = finders.get(notice.resource)
  return find ? find(notice, context) : { outcome: 'done', notices: [] }
}

const finders: ReadonlyMap<string, (notice: Resource, context: Context) => Promise<Located>> = new Map([
  ['payment', (notice, context) => locatePayments(notice, [notice.id], context)],
  ['authorized_payment', locatePeriod],
  ['merchant_order', locateOrder],
  ['chargeback', locateChargeback],
])

async function locatePayments(notice: Resource, ids: readonly string[], context: Context): Promise<Located> {
  const notices: Notice[] = []
  for (const id of ids) {
    const outcome = await fetchPayment(id, context)
    if (outcome.outcome !== 'done') return outcome
    if (outcome.payment) notices.push(...describeOwners(notice, outcome.payment))
  }
  return { outcome: 'done', notices }
}

/**
 * A payment without our reference is the seller's own business. What a subscription charges is a payment as well,
 * under the subscription's reference; the subscription is told first, for it knows its payments.
 */
function describeOwners({ key, topic }: Resource, payment: PaymentAnswer): Notice[] {
  const { id, external_reference: reference, point_of_interaction: origin } = payment
  const paymentId = readPaymentId(reference)
  const paid = { key: `${key}:${id}`, topic, about: 'payment', providerPaymentId: id } as const
  if (paymentId) return [{ ...paid, paymentId }]
  const subscribed = describeSubscribed(origin?.transaction_data?.subscription_id, reference)
  return subscribed ? [{ key: `${key}:subscription`, topic, ...subscribed }, paid] : []
}

function describeSubscribed(id: string | null | undefined, reference: string | null | undefined) {
  const subscriptionId = reference && /^sub_\w+$/.test(reference) ? reference : undefined
  if (!id && !subscriptionId) return undefined
  return {
    about: 'subscription' as const,
    ...(id && { providerSubscriptionId: id }),
    ...(subscriptionId && { subscriptionId }),
  }
}

async function locatePeriod(notice: Resource, context: Context): Promise<Located> {
  const outcome = await callMercadopago(context, {
    path: ['authorized_payments', notice.id],
    answer: periodAnswer,
  })
  if (isMissing(outcome)) return { outcome: 'done', notices: [] }
  if (outcome.outcome !== 'done') return outcome
  const { preapproval_id: id, external_reference: reference } = outcome.answer
  const subscribed = describeSubscribed(id, reference)
  const { key, topic } = notice
  return {
    outcome: 'done',
    notices: subscribed ? [{ key: `${key}:subscription`, topic, ...subscribed }] : [],
  }
}

const orderAnswer = z.looseObject({
  external_reference: optionalText,
  payments: optional(z.array(z.looseObject({ id: idText }))),
})

async function locateOrder(notice: Resource, context: Context): Promise<Located> {
  const path = ['merchant_orders', notice.id]
  const outcome = await callMercadopago(context, { path, answer: orderAnswer })
  if (isMissing(outcome)) return { outcome: 'done', notices: [] }
  if (outcome.outcome !== 'done') return outcome
  const paymentId = readPaymentId(outcome.answer.external_reference)
  const paid = paymentId ? (outcome.answer.payments ?? []) : []
  const notices = paid.map(({ id }): Notice => ({
    key: `${notice.key}:${id}`,
    topic: notice.topic,
    about: 'payment',
    providerPaymentId: id,
    ...(paymentId && { paymentId }),
  }))
  return { outcome: 'done', notices }
}

const chargebackAnswer = z.looseObject({
  payments: optional(z.array(idText)),
  payment_id: optional(idText),
})

async function locateChargeback(notice: Resource, context: Context): Promise<Located> {
  const path = ['v1', 'chargebacks', notice.id]
  const outcome = await callMercadopago(context, { path, answer: chargebackAnswer })
  if (isMissing(outcome)) return { outcome: 'done', notices: [] }
  if (outcome.outcome !== 'done') return outcome
  const { payments, payment_id: single } = outcome.answer
  return locatePayments(notice, payments ?? (single ? [single] : []), context)
}
