import { z } from 'zod'
import { checkAmount, checkCurrency } from './stripe-amounts.ts'
import { getCustomer } from './stripe-customers.ts'
import { cardRefused, invalidRequest, unexpectedState } from './stripe-errors.ts'
import { listRoute } from './stripe-lists.ts'
import { methodData, resolveMethod } from './stripe-methods.ts'
import type { CheckoutSession, PaymentIntent, PaymentMethod } from './stripe-objects.ts'
import {
  boolean,
  changeMetadata,
  ignored,
  integer,
  metadata,
  optionalText,
  text,
  texts,
  unknownParam,
} from './stripe-params.ts'
import { attemptPayment, cancelPayment, capturePayment, createIntent } from './stripe-payments.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { getObject, indexMetadata, listUnder, objectsOf } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

/** Since this version methods are named by `allowed_payment_method_types`. */
const TYPES_RENAMED_IN = '2026-09-30'

const shared = {
  allowed_payment_method_types: texts.optional(),
  description: optionalText,
  excluded_payment_method_types: ignored,
  metadata,
  payment_method: text.optional(),
  payment_method_data: methodData.optional(),
  payment_method_options: ignored,
  payment_method_types: texts.optional(),
  receipt_email: optionalText,
  setup_future_usage: z.enum(['on_session', 'off_session']).optional(),
  shipping: ignored,
  statement_descriptor: optionalText,
  statement_descriptor_suffix: optionalText,
  transfer_data: ignored,
  transfer_group: ignored,
}

const confirming = {
  error_on_requires_action: boolean.optional(),
  mandate_data: ignored,
  off_session: z.union([boolean, z.enum(['one_off', 'recurring']).transform(() => true)]).optional(),
  return_url: z.url().optional(),
  use_stripe_sdk: ignored,
}

const created = z.strictObject({
  ...shared,
  ...confirming,
  amount: integer,
  application_fee_amount: ignored,
  automatic_payment_methods: z
    .strictObject({ enabled: boolean, allow_redirects: z.enum(['always', 'never']).default('always') })
    .optional(),
  capture_method: z.enum(['automatic', 'automatic_async', 'manual']).default('automatic'),
  confirm: boolean.optional(),
  currency: text,
  customer: text.optional(),
  on_behalf_of: ignored,
  radar_options: ignored,
})

const changed = z.strictObject({ ...shared, amount: integer.optional(), customer: text.optional() })

const confirmed = z.strictObject({
  ...confirming,
  payment_method: shared.payment_method,
  payment_method_data: shared.payment_method_data,
  payment_method_options: ignored,
  payment_method_types: shared.payment_method_types,
  allowed_payment_method_types: shared.allowed_payment_method_types,
  receipt_email: optionalText,
  setup_future_usage: shared.setup_future_usage,
})

function create(work: Work, params: z.infer<typeof created>): PaymentIntent {
  const types = readTypes(work, params)
  const currency = checkCurrency(params.currency)
  checkAmount(params.amount, currency)
  if (!params.confirm) refuseWithoutConfirm(params)
  if (params.customer !== undefined) getCustomer(work, params.customer)
  const automatic: PaymentIntent['automatic_payment_methods'] =
    params.automatic_payment_methods ?? (types ? null : { enabled: true, allow_redirects: 'always' })
  checkReturnUrl(automatic, params)
  const method = resolveMethod(work, params)
  if (method) checkOwner(params.customer ?? null, method)
  const intent = createIntent(work, {
    amount: params.amount,
    automatic_payment_methods: automatic?.enabled ? automatic : null,
    capture_method: params.capture_method,
    currency,
    customer: params.customer ?? null,
    description: params.description ?? null,
    metadata: changeMetadata({}, params.metadata),
    payment_method: method?.id ?? null,
    payment_method_types: types ?? ['card'],
    receipt_email: params.receipt_email ?? null,
    setup_future_usage: params.setup_future_usage ?? null,
    statement_descriptor: params.statement_descriptor ?? null,
    statement_descriptor_suffix: params.statement_descriptor_suffix ?? null,
    status: method ? 'requires_confirmation' : 'requires_payment_method',
  })
  return params.confirm ? tryPaying(work, intent, method, params) : intent
}

type Types = {
  payment_method_types?: string[] | undefined
  allowed_payment_method_types?: string[] | undefined
}

/** @throws StripeError for the old name in an API version that knows only the new one */
export function readTypes({ version }: Work, params: Types): string[] | undefined {
  const { payment_method_types: old, allowed_payment_method_types: allowed } = params
  if (old && version >= TYPES_RENAMED_IN) throw unknownParam('payment_method_types')
  return old ?? allowed
}

function refuseWithoutConfirm(params: z.infer<typeof created>): void {
  for (const param of ['off_session', 'return_url', 'error_on_requires_action'] as const) {
    if (params[param] === undefined) continue
    const message = `The parameter \`${param}\` cannot be passed when creating a PaymentIntent unless \`confirm\` is set to true.`
    throw invalidRequest(message, { code: 'payment_intent_invalid_parameter', param })
  }
}

function checkReturnUrl(
  automatic: { enabled: boolean; allow_redirects: string } | null,
  params: { confirm?: boolean | undefined; return_url?: string | undefined },
): void {
  if (!params.confirm || !automatic?.enabled || automatic.allow_redirects === 'never') return
  if (params.return_url !== undefined) return
  const message =
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
  throw invalidRequest(message, { code: 'parameter_missing', param: 'return_url' })
}

function checkOwner(customer: string | null, method: PaymentMethod): void {
  if (method.customer === null || method.customer === customer) return
  if (customer === null) {
    const message =
      'The payment method you provided is attached to a customer so for security purposes you must provide the customer in the request.'
    throw invalidRequest(message, { param: 'customer' })
  }
  const message = `The customer does not have a payment method with the ID ${method.id}. The payment method must be attached to the customer.`
  throw invalidRequest(message, { code: 'resource_missing', param: 'payment_method' })
}

type Confirming = {
  error_on_requires_action?: boolean | undefined
  off_session?: boolean | undefined
  return_url?: string | undefined
}

function tryPaying(
  work: Work,
  intent: PaymentIntent,
  method: PaymentMethod | null,
  params: Confirming,
): PaymentIntent {
  if (!method) {
    const message =
      "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken."
    throw unexpectedState(intent, message)
  }
  const failure = attemptPayment(work, intent, method, {
    returnUrl: params.return_url ?? null,
    offSession: params.off_session ?? false,
    failsOnAction: params.error_on_requires_action ?? false,
  })
  if (failure) throw cardRefused(failure, intent)
  return intent
}

const confirmable = ['requires_payment_method', 'requires_confirmation', 'requires_action']

function confirm(work: Work, params: z.infer<typeof confirmed>, id: string): PaymentIntent {
  readTypes(work, params)
  const intent = getObject<PaymentIntent>(work.account, 'payment_intent', id, 'intent')
  if (!confirmable.includes(intent.status)) {
    const message = `You cannot confirm this PaymentIntent because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be confirmed: ${confirmable.join(', ')}.`
    throw unexpectedState(intent, message)
  }
  const method =
    resolveMethod(work, params) ?? resolveMethod(work, { payment_method: intent.payment_method ?? undefined })
  if (method) checkOwner(intent.customer, method)
  checkReturnUrl(intent.automatic_payment_methods, { ...params, confirm: true })
  intent.setup_future_usage = params.setup_future_usage ?? intent.setup_future_usage
  return tryPaying(work, intent, method, params)
}

function change(work: Work, params: z.infer<typeof changed>, id: string): PaymentIntent {
  readTypes(work, params)
  const intent = getObject<PaymentIntent>(work.account, 'payment_intent', id, 'intent')
  const { amount, customer, description, receipt_email: email } = params
  const method = resolveMethod(work, params)
  if ((amount !== undefined || method) && !confirmable.includes(intent.status)) {
    const message = `This PaymentIntent could not be updated because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be updated: ${confirmable.join(', ')}.`
    throw unexpectedState(intent, message)
  }
  if (amount !== undefined) {
    checkAmount(amount, intent.currency)
    intent.amount = amount
  }
  if (customer !== undefined) {
    intent.customer = getCustomer(work, customer).id
    listUnder(work.account, intent, customer)
  }
  if (method) {
    checkOwner(intent.customer, method)
    intent.payment_method = method.id
    intent.status = 'requires_confirmation'
  }
  if (description !== undefined) intent.description = description
  if (email !== undefined) intent.receipt_email = email
  intent.setup_future_usage = params.setup_future_usage ?? intent.setup_future_usage
  intent.metadata = changeMetadata(intent.metadata, params.metadata)
  indexMetadata(work.account, intent)
  return intent
}

const captured = z.strictObject({
  amount_to_capture: integer.optional(),
  application_fee_amount: ignored,
  final_capture: boolean.optional(),
  metadata,
  statement_descriptor: optionalText,
  statement_descriptor_suffix: optionalText,
})

function capture(work: Work, params: z.infer<typeof captured>, id: string): PaymentIntent {
  const intent = getObject<PaymentIntent>(work.account, 'payment_intent', id, 'intent')
  if (params.final_capture === false) {
    const message = 'This payment does not support multicapture.'
    throw invalidRequest(message, { code: 'payment_intent_invalid_parameter', param: 'final_capture' })
  }
  capturePayment(work, intent, params.amount_to_capture)
  intent.metadata = changeMetadata(intent.metadata, params.metadata)
  return intent
}

const canceled = z.strictObject({
  cancellation_reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer', 'abandoned']).optional(),
})

function cancel(work: Work, params: z.infer<typeof canceled>, id: string): PaymentIntent {
  const intent = getObject<PaymentIntent>(work.account, 'payment_intent', id, 'intent')
  const [session] = objectsOf<CheckoutSession>(work.account, 'checkout.session', id)
  if (session?.status === 'open') {
    const message = `You cannot cancel the PaymentIntent of a Checkout Session that is open. Expire the session ${session.id} instead.`
    throw unexpectedState(intent, message)
  }
  cancelPayment(work, intent, params.cancellation_reason ?? null)
  return intent
}

export const intentRoutes: Routes = {
  'POST payment_intents': route('create', created, create),
  'GET payment_intents': listRoute<PaymentIntent>('payment_intent', 'payment_intents', {
    parents: ['customer'],
  }),
  'GET payment_intents/:id': route('read', z.strictObject({ client_secret: ignored }), ({ account }, _, id) =>
    getObject(account, 'payment_intent', id, 'intent'),
  ),
  'POST payment_intents/:id': route('create', changed, change),
  'POST payment_intents/:id/confirm': route('create', confirmed, confirm),
  'POST payment_intents/:id/capture': route('capture', captured, capture),
  'POST payment_intents/:id/cancel': route('cancel', canceled, cancel),
}
