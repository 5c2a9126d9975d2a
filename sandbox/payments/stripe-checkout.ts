import { z } from 'zod'
import { schedule } from './agenda.ts'
import { checkAmount } from './stripe-amounts.ts'
import type { LineItem } from './stripe-billing-objects.ts'
import { DAY_SECONDS } from './stripe-billing.ts'
import { getCustomer } from './stripe-customers.ts'
import { invalidRequest } from './stripe-errors.ts'
import { sendEvents } from './stripe-events.ts'
import { readTypes } from './stripe-intents.ts'
import { listOf, listRoute } from './stripe-lists.ts'
import type { CheckoutSession, SetupIntent } from './stripe-objects.ts'
import { changeMetadata, ignored, integer, metadata, optionalText, text, texts } from './stripe-params.ts'
import { pageUrl } from './stripe-payments.ts'
import { priceData, resolvePrice } from './stripe-plans.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { expireSession } from './stripe-sessions.ts'
import { createSetup } from './stripe-setups.ts'
import { addObject, addPage, createId, findObject, getObject, startWork } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'
import { checkCurrencies, readTrialSettings, trialEnd, trialSettings } from './stripe-subscription-params.ts'

const SHORTEST_SECONDS = 30 * 60

const created = z.strictObject({
  allow_promotion_codes: ignored,
  allowed_payment_method_types: texts.optional(),
  automatic_tax: ignored,
  billing_address_collection: ignored,
  cancel_url: z.url().optional(),
  client_reference_id: text.max(200).optional(),
  currency: text.optional(),
  custom_text: ignored,
  customer: text.optional(),
  customer_creation: z.enum(['always', 'if_required']).optional(),
  customer_email: text.optional(),
  expires_at: integer.optional(),
  line_items: z
    .array(
      z.strictObject({
        adjustable_quantity: ignored,
        price: text.optional(),
        price_data: priceData.optional(),
        quantity: integer.optional(),
      }),
    )
    .max(100)
    .optional(),
  locale: text.optional(),
  metadata,
  mode: z.enum(['payment', 'setup', 'subscription']),
  payment_intent_data: z
    .strictObject({
      application_fee_amount: ignored,
      capture_method: z.enum(['automatic', 'automatic_async', 'manual']).optional(),
      description: optionalText,
      metadata,
      on_behalf_of: ignored,
      receipt_email: optionalText,
      setup_future_usage: z.enum(['on_session', 'off_session']).optional(),
      statement_descriptor: optionalText,
      statement_descriptor_suffix: optionalText,
      transfer_data: ignored,
      transfer_group: ignored,
    })
    .optional(),
  payment_method_collection: ignored,
  payment_method_options: ignored,
  payment_method_types: texts.optional(),
  phone_number_collection: ignored,
  return_url: z.url().optional(),
  saved_payment_method_options: ignored,
  setup_intent_data: z.strictObject({ description: optionalText, metadata }).optional(),
  submit_type: ignored,
  subscription_data: z
    .strictObject({
      description: optionalText,
      metadata,
      trial_end: trialEnd,
      trial_period_days: integer.optional(),
      trial_settings: trialSettings,
    })
    .optional(),
  success_url: text.optional(),
  ui_mode: z.enum(['hosted_page', 'embedded_page', 'elements', 'form']).default('hosted_page'),
})

type Params = z.infer<typeof created>

function create(work: Work, params: Params): CheckoutSession {
  const { account, at } = work
  checkParams(work, params)
  const items = describeItems(work, params)
  const total =
    params.mode === 'setup' ? null : items.reduce((sum, { amount_total: amount }) => sum + amount, 0)
  const currency = items[0]?.currency ?? params.currency ?? null
  if (params.mode === 'payment') checkAmount(total ?? 0, currency ?? '', 'line_items')
  const id = createId(account.livemode ? 'cs_live' : 'cs_test', 42)
  const session: CheckoutSession = {
    id,
    object: 'checkout.session',
    amount_subtotal: total,
    amount_total: total,
    cancel_url: params.cancel_url ?? null,
    client_reference_id: params.client_reference_id ?? null,
    created: at,
    currency,
    customer: params.customer ?? null,
    customer_details: null,
    customer_email: params.customer_email ?? null,
    expires_at: params.expires_at ?? at + DAY_SECONDS,
    invoice: null,
    livemode: account.livemode,
    locale: params.locale ?? null,
    metadata: changeMetadata({}, params.metadata),
    mode: params.mode,
    payment_intent: null,
    payment_method_types: readTypes(work, params) ?? ['card'],
    payment_status: params.mode === 'setup' ? 'no_payment_required' : 'unpaid',
    setup_intent: params.mode === 'setup' ? addSetup(work, params).id : null,
    status: 'open',
    subscription: null,
    success_url: params.success_url ?? null,
    ui_mode: params.ui_mode,
    url: params.ui_mode === 'hosted_page' ? pageUrl(work, id) : null,
  }
  addObject(work, session, [session.customer, session.setup_intent])
  account.checkouts.set(id, describePlan(params, items))
  addPage(work, id)
  expireLater(work, session)
  return session
}

function checkParams(work: Work, params: Params): void {
  if (params.customer !== undefined && params.customer_email !== undefined) {
    const message = 'You may only specify one of these parameters: customer, customer_email.'
    throw invalidRequest(message, { code: 'parameters_exclusive', param: 'customer_email' })
  }
  if (params.customer !== undefined) getCustomer(work, params.customer)
  requireParam(params.ui_mode !== 'hosted_page' || params.success_url !== undefined, 'success_url')
  requireParam(params.mode === 'setup' || (params.line_items?.length ?? 0) > 0, 'line_items')
  requireParam(
    params.mode !== 'setup' || (params.currency ?? readTypes(work, params)) !== undefined,
    'currency',
  )
  const { expires_at: expiresAt } = params
  if (expiresAt === undefined) return
  const [least, most] = [work.at + SHORTEST_SECONDS - 60, work.at + DAY_SECONDS + 60]
  if (expiresAt >= least && expiresAt <= most) return
  const bound = expiresAt < least ? 'at least 30 minutes' : 'less than 24 hours'
  throw invalidRequest(`The \`expires_at\` timestamp must be ${bound} from Checkout Session creation.`, {
    param: 'expires_at',
  })
}

function requireParam(isGiven: boolean, param: string): void {
  if (!isGiven)
    throw invalidRequest(`Missing required param: ${param}.`, { code: 'parameter_missing', param })
}

function describeItems(work: Work, params: Params): LineItem[] {
  const items = (params.line_items ?? []).map((line, index): LineItem => {
    const price = resolvePrice(work, line, `line_items[${index}]`)
    const quantity = line.quantity ?? 1
    const amount = price.unit_amount * quantity
    return {
      id: createId('li'),
      object: 'item',
      amount_subtotal: amount,
      amount_total: amount,
      currency: price.currency,
      description:
        (findObject(work.account, 'product', price.product) as { name?: string } | undefined)?.name ?? '',
      price,
      quantity,
    }
  })
  const prices = items.map(({ price }) => price)
  checkCurrencies(prices)
  if (params.mode === 'payment' && prices.some(({ recurring }) => recurring)) {
    const message =
      'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.'
    throw invalidRequest(message, { param: 'mode' })
  }
  if (params.mode === 'subscription' && prices.some(({ recurring }) => !recurring)) {
    const message = 'In `subscription` mode every price has to be recurring here.'
    throw invalidRequest(message, { param: 'mode' })
  }
  return items
}

function describePlan(params: Params, items: LineItem[]) {
  const { payment_intent_data: payment, subscription_data: subscription } = params
  return {
    items,
    payment: {
      capture_method: payment?.capture_method ?? ('automatic_async' as const),
      description: payment?.description ?? null,
      metadata: changeMetadata({}, payment?.metadata),
      receipt_email: payment?.receipt_email ?? null,
      setup_future_usage: payment?.setup_future_usage ?? null,
      statement_descriptor: payment?.statement_descriptor ?? null,
      statement_descriptor_suffix: payment?.statement_descriptor_suffix ?? null,
    },
    subscription: {
      description: subscription?.description ?? null,
      metadata: changeMetadata({}, subscription?.metadata),
      trial_settings: readTrialSettings(subscription?.trial_settings),
    },
    trialEnd: {
      trial_end: subscription?.trial_end,
      trial_period_days: subscription?.trial_period_days,
    },
    makesCustomer: params.customer_creation === 'always' || payment?.setup_future_usage !== undefined,
  }
}

function addSetup(work: Work, params: Params): SetupIntent {
  const { setup_intent_data: data } = params
  return createSetup(work, {
    customer: params.customer ?? null,
    description: data?.description ?? null,
    metadata: changeMetadata({}, data?.metadata),
  })
}

function expireLater({ stripe, account }: Work, session: CheckoutSession): void {
  schedule(stripe.agenda, new Date(session.expires_at * 1_000), (due) => {
    if (session.status !== 'open') return
    const work = startWork(stripe, account, due)
    expireSession(work, session)
    void sendEvents(work)
  })
}

const nothing = z.strictObject({})

export const checkoutRoutes: Routes = {
  'POST checkout/sessions': route('checkout', created, create),
  'GET checkout/sessions': listRoute<CheckoutSession>('checkout.session', 'checkout/sessions', {
    parents: ['payment_intent', 'customer', 'subscription'],
    equals: ['status'],
  }),
  'GET checkout/sessions/:id': route('read', nothing, ({ account }, _, id) =>
    getObject(account, 'checkout.session', id),
  ),
  'GET checkout/sessions/:id/line_items': route(
    'read',
    z.strictObject({ limit: integer.optional() }),
    ({ account }, _, id) => {
      getObject(account, 'checkout.session', id)
      return listOf(`/v1/checkout/sessions/${id}/line_items`, account.checkouts.get(id)?.items ?? [])
    },
  ),
  'POST checkout/sessions/:id/expire': route('cancel', nothing, (work, _, id) => {
    const session = getObject<CheckoutSession>(work.account, 'checkout.session', id)
    if (session.status !== 'open') {
      const message = `Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of \`${session.status}\`.`
      throw invalidRequest(message)
    }
    expireSession(work, session)
    return session
  }),
}
