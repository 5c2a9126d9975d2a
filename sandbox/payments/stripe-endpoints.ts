import { z } from 'zod'
import { seedFrom } from '../signatures.ts'
import { invalidRequest } from './stripe-errors.ts'
import { listRoute } from './stripe-lists.ts'
import type { WebhookEndpoint } from './stripe-objects.ts'
import { boolean, changeMetadata, metadata, optionalText, text, texts } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { StripeAccount, Work } from './stripe-state.ts'

/** What PipeCore's Stripe connection listens to. */
export const usualEvents = [
  'payment_intent.succeeded',
  'payment_intent.amount_capturable_updated',
  'payment_intent.payment_failed',
  'payment_intent.canceled',
  'payment_intent.requires_action',
  'payment_intent.processing',
  'refund.created',
  'refund.updated',
  'refund.failed',
  'charge.refunded',
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'checkout.session.expired',
  'customer.subscription.created',
  'customer.subscription.updated',
  'customer.subscription.deleted',
  'customer.subscription.paused',
  'customer.subscription.resumed',
  'customer.subscription.trial_will_end',
  'invoice.paid',
  'invoice.payment_failed',
  'invoice.payment_action_required',
  'invoice.marked_uncollectible',
  'invoice.voided',
  'charge.dispute.created',
  'charge.dispute.updated',
  'charge.dispute.closed',
  'setup_intent.succeeded',
  'setup_intent.setup_failed',
]

type NewEndpoint = Pick<WebhookEndpoint, 'url' | 'enabled_events'> &
  Partial<Pick<WebhookEndpoint, 'api_version' | 'description' | 'metadata'>> & {
    connect: StripeAccount['endpoints'][number]['connect']
    secret: string
  }

/** Newest last; its secret is known only here. */
export function addEndpoint(work: Work, made: NewEndpoint): WebhookEndpoint {
  const { connect, secret, ...given } = made
  const endpoint = addObject<WebhookEndpoint>(work, {
    id: createId('we'),
    object: 'webhook_endpoint',
    api_version: null,
    application: null,
    created: work.at,
    description: null,
    livemode: work.account.livemode,
    metadata: {},
    status: 'enabled',
    ...given,
  })
  work.account.endpoints.push({ id: endpoint.id, secrets: [secret], connect })
  return endpoint
}

/** The secret an account's first endpoint has, also after a restart. */
export function firstSecret(account: StripeAccount): string {
  return `whsec_${seedFrom('stripe', account.id).toString('hex').slice(0, 32)}`
}

const created = z.strictObject({
  url: text,
  enabled_events: texts,
  api_version: text.optional(),
  connect: boolean.optional(),
  description: optionalText,
  metadata,
})

const changed = z.strictObject({
  url: text.optional(),
  enabled_events: texts.optional(),
  disabled: boolean.optional(),
  description: optionalText,
  metadata,
})

export const endpointRoutes: Routes = {
  'POST webhook_endpoints': route('method', created, (work, params) => {
    checkUrl(params.url)
    const secret = createId('whsec', 24)
    const endpoint = addEndpoint(work, {
      url: params.url,
      enabled_events: params.enabled_events,
      api_version: params.api_version ?? null,
      description: params.description ?? null,
      metadata: changeMetadata({}, params.metadata),
      connect: params.connect === true ? 'connected' : 'own',
      secret,
    })
    return { ...endpoint, secret }
  }),
  'GET webhook_endpoints': listRoute<WebhookEndpoint>('webhook_endpoint', 'webhook_endpoints'),
  'GET webhook_endpoints/:id': route('read', z.strictObject({}), ({ account }, _, id) =>
    getObject(account, 'webhook_endpoint', id),
  ),
  'POST webhook_endpoints/:id': route('method', changed, ({ account }, params, id) => {
    const endpoint = getObject<WebhookEndpoint>(account, 'webhook_endpoint', id)
    if (params.url !== undefined) checkUrl(params.url)
    endpoint.url = params.url ?? endpoint.url
    endpoint.enabled_events = params.enabled_events ?? endpoint.enabled_events
    if (params.disabled !== undefined) endpoint.status = params.disabled ? 'disabled' : 'enabled'
    if (params.description !== undefined) endpoint.description = params.description
    endpoint.metadata = changeMetadata(endpoint.metadata, params.metadata)
    return endpoint
  }),
  'DELETE webhook_endpoints/:id': route('method', z.strictObject({}), ({ account }, _, id) => {
    const endpoint = getObject<WebhookEndpoint>(account, 'webhook_endpoint', id)
    account.objects.delete(id)
    account.endpoints = account.endpoints.filter((known) => known.id !== id)
    const list = account.lists.get('webhook_endpoint') ?? []
    account.lists.set(
      'webhook_endpoint',
      list.filter((known) => known !== endpoint),
    )
    return { id, object: 'webhook_endpoint', deleted: true }
  }),
}

function checkUrl(url: string): void {
  if (!URL.canParse(url)) {
    const message = 'Invalid URL: An explicit scheme (such as https) must be provided.'
    throw invalidRequest(message, { code: 'url_invalid', param: 'url' })
  }
}
