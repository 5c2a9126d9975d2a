import { z } from 'zod'
import { getCustomer } from './stripe-customers.ts'
import { cardRefused, unexpectedState } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { readTypes } from './stripe-intents.ts'
import { listRoute } from './stripe-lists.ts'
import { attachMethod, createFailure, methodData, resolveMethod } from './stripe-methods.ts'
import type { CardFailure, PaymentMethod, SetupIntent } from './stripe-objects.ts'
import { boolean, changeMetadata, ignored, metadata, optionalText, text, texts } from './stripe-params.ts'
import { cardOf, describeAction } from './stripe-payments.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const confirming = {
  mandate_data: ignored,
  payment_method: text.optional(),
  payment_method_data: methodData.optional(),
  payment_method_options: ignored,
  return_url: z.url().optional(),
  use_stripe_sdk: ignored,
}

const created = z.strictObject({
  ...confirming,
  allowed_payment_method_types: texts.optional(),
  automatic_payment_methods: ignored,
  confirm: boolean.optional(),
  customer: text.optional(),
  description: optionalText,
  metadata,
  payment_method_types: texts.optional(),
  usage: z.enum(['on_session', 'off_session']).default('off_session'),
})

const confirmed = z.strictObject(confirming)

type NewSetup = Partial<Pick<SetupIntent, 'customer' | 'description' | 'metadata' | 'usage'>>

/** A setup intent without any attempt at it. */
export function createSetup(work: Work, made: NewSetup): SetupIntent {
  const id = createId('seti')
  const setup = addObject<SetupIntent>(
    work,
    {
      id,
      object: 'setup_intent',
      cancellation_reason: null,
      client_secret: createId(`${id}_secret`),
      created: work.at,
      customer: null,
      description: null,
      last_setup_error: null,
      latest_attempt: null,
      livemode: work.account.livemode,
      metadata: {},
      next_action: null,
      payment_method: null,
      payment_method_types: ['card'],
      status: 'requires_payment_method',
      usage: 'off_session',
      ...made,
    },
    [made.customer ?? null],
  )
  emit(work, 'setup_intent.created', setup)
  return setup
}

/** Tries to save a card; answers why it can't be, which the setup intent says as well. */
export function attemptSetup(
  work: Work,
  setup: SetupIntent,
  method: PaymentMethod,
  returnUrl: string | null,
): CardFailure | null {
  setup.payment_method = method.id
  setup.last_setup_error = null
  setup.latest_attempt = createId('setatt')
  const { behaviour } = cardOf(work, method)
  if (behaviour.decline && behaviour.declinesAt === 'attach')
    return failSetup(work, setup, createFailure(behaviour.decline, { payment_method: { ...method } }))
  if (behaviour.authentication === undefined) return finishSetup(work, setup, method)
  setup.next_action = describeAction(work, setup.id, returnUrl)
  setup.status = 'requires_action'
  emit(work, 'setup_intent.requires_action', setup)
  return null
}

/** The customer came through 3-D Secure, or did not. */
export function authenticateSetup(work: Work, setup: SetupIntent, isAuthentic: boolean): CardFailure | null {
  const method = getObject<PaymentMethod>(work.account, 'payment_method', setup.payment_method ?? '')
  setup.next_action = null
  if (isAuthentic) return finishSetup(work, setup, method)
  return failSetup(work, setup, {
    ...createFailure({
      code: 'setup_intent_authentication_failure',
      message: 'We are unable to authenticate your payment method. Please choose a different payment method.',
    }),
    type: 'invalid_request_error',
    payment_method: { ...method },
  })
}

function finishSetup(work: Work, setup: SetupIntent, method: PaymentMethod): null {
  if (setup.customer !== null) attachMethod(work, method, setup.customer)
  cardOf(work, method).isSetUp = true
  setup.status = 'succeeded'
  emit(work, 'setup_intent.succeeded', setup)
  return null
}

function failSetup(work: Work, setup: SetupIntent, failure: CardFailure): CardFailure {
  setup.last_setup_error = failure
  setup.payment_method = null
  setup.status = 'requires_payment_method'
  emit(work, 'setup_intent.setup_failed', setup)
  return failure
}

function create(work: Work, params: z.infer<typeof created>): SetupIntent {
  readTypes(work, params)
  if (params.customer !== undefined) getCustomer(work, params.customer)
  const method = resolveMethod(work, params)
  const setup = createSetup(work, {
    customer: params.customer ?? null,
    description: params.description ?? null,
    metadata: changeMetadata({}, params.metadata),
    usage: params.usage,
  })
  setup.payment_method = method?.id ?? null
  if (method) setup.status = 'requires_confirmation'
  return params.confirm ? trySaving(work, setup, method, params.return_url) : setup
}

const confirmable = ['requires_payment_method', 'requires_confirmation', 'requires_action']

function confirm(work: Work, params: z.infer<typeof confirmed>, id: string): SetupIntent {
  const setup = getOpen(work, id, 'confirm')
  const method =
    resolveMethod(work, params) ?? resolveMethod(work, { payment_method: setup.payment_method ?? undefined })
  return trySaving(work, setup, method, params.return_url)
}

function trySaving(
  work: Work,
  setup: SetupIntent,
  method: PaymentMethod | null,
  returnUrl: string | undefined,
): SetupIntent {
  if (!method) {
    const message = "You cannot confirm this SetupIntent because it's missing a payment method."
    throw unexpectedState(setup, message)
  }
  const failure = attemptSetup(work, setup, method, returnUrl ?? null)
  if (failure) throw cardRefused(failure, setup)
  return setup
}

function getOpen({ account }: Work, id: string, verb: string): SetupIntent {
  const setup = getObject<SetupIntent>(account, 'setup_intent', id, 'intent')
  if (confirmable.includes(setup.status)) return setup
  const message = `You cannot ${verb} this SetupIntent because it has a status of ${setup.status}. Only a SetupIntent with one of the following statuses may be used: ${confirmable.join(', ')}.`
  throw unexpectedState(setup, message)
}

const canceled = z.strictObject({
  cancellation_reason: z.enum(['abandoned', 'requested_by_customer', 'duplicate']).optional(),
})

export const setupRoutes: Routes = {
  'POST setup_intents': route('method', created, create),
  'GET setup_intents': listRoute<SetupIntent>('setup_intent', 'setup_intents', { parents: ['customer'] }),
  'GET setup_intents/:id': route('read', z.strictObject({ client_secret: ignored }), ({ account }, _, id) =>
    getObject(account, 'setup_intent', id, 'intent'),
  ),
  'POST setup_intents/:id/confirm': route('method', confirmed, confirm),
  'POST setup_intents/:id/cancel': route('method', canceled, (work, params, id) => {
    const setup = getOpen(work, id, 'cancel')
    setup.status = 'canceled'
    setup.cancellation_reason = params.cancellation_reason ?? null
    setup.next_action = null
    emit(work, 'setup_intent.canceled', setup)
    return setup
  }),
}
