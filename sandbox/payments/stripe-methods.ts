import { z } from 'zod'
import { declineOf, findTestCard } from './stripe-cards.ts'
import type { CardBehaviour, Decline } from './stripe-cards.ts'
import { cardRefused, invalidRequest, resourceMissing } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import type { CardDetails, CardFailure, Customer, PaymentMethod } from './stripe-objects.ts'
import { changeMetadata, ignored, integer, metadata, optionalText, text } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, findObject, getObject, listUnder } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const billingDetails = z
  .strictObject({
    address: ignored,
    email: optionalText,
    name: optionalText,
    phone: optionalText,
    tax_id: ignored,
  })
  .optional()

const cardData = z.union([
  z.strictObject({ token: text }),
  z.strictObject({ number: text, exp_month: integer, exp_year: integer, cvc: text.optional() }),
])

/** A card without a payment method of its own yet. */
export const methodData = z.strictObject({
  type: z.literal('card'),
  card: cardData,
  billing_details: billingDetails,
  allow_redisplay: ignored,
  metadata,
})

type MethodGiven = {
  payment_method?: string | undefined
  payment_method_data?: z.infer<typeof methodData> | undefined
}

/** The method that a call names or describes; `pm_card_…` makes one. */
export function resolveMethod(work: Work, given: MethodGiven): PaymentMethod | null {
  const { payment_method: id, payment_method_data: data } = given
  if (data) return createMethod(work, data)
  if (id === undefined) return null
  if (findTestCard(id) && id.startsWith('pm_')) return createCard(work, id)
  const method = findObject<PaymentMethod>(work.account, 'payment_method', id)
  if (!method) throw resourceMissing('PaymentMethod', id, 'payment_method')
  if (work.account.cards.get(id)?.isSpent) {
    const message =
      'The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer first.'
    throw invalidRequest(message)
  }
  return method
}

function createMethod(work: Work, data: z.infer<typeof methodData>): PaymentMethod {
  const word = 'token' in data.card ? data.card.token : data.card.number
  if (findTestCard(word)) return createCard(work, word, data)
  if ('token' in data.card) throw resourceMissing('token', word, 'card[token]')
  const failure = createFailure({ code: 'incorrect_number', message: 'Your card number is incorrect.' })
  throw cardRefused({ ...failure, type: 'card_error' })
}

type CardChange = Partial<Pick<z.infer<typeof methodData>, 'billing_details' | 'metadata'>>

/** A payment method of a test card, by its number or name. */
export function createCard(work: Work, word: string, change: CardChange = {}): PaymentMethod {
  const card = findTestCard(word)
  if (!card) throw resourceMissing('PaymentMethod', word, 'payment_method')
  return addCard(work, card, change)
}

/** A card that the bank declines for this reason, as a customer may enter it. */
export function createDeclinedCard(work: Work, reason: string): PaymentMethod {
  const { details, behaviour } = findTestCard('4242424242424242')!
  return addCard(work, {
    details,
    behaviour: { ...behaviour, decline: declineOf(reason), declinesAt: 'attach' },
  })
}

type Card = { details: CardDetails; behaviour: CardBehaviour }

function addCard(work: Work, { details, behaviour }: Card, change: CardChange = {}): PaymentMethod {
  const { billing_details: billing } = change
  const method = addObject<PaymentMethod>(work, {
    id: createId('pm'),
    object: 'payment_method',
    billing_details: {
      email: billing?.email ?? null,
      name: billing?.name ?? null,
      phone: billing?.phone ?? null,
    },
    card: { ...details, three_d_secure_usage: { supported: true } },
    created: work.at,
    customer: null,
    livemode: work.account.livemode,
    metadata: changeMetadata({}, change.metadata),
    type: 'card',
  })
  work.account.cards.set(method.id, { behaviour, isSetUp: false, isSpent: false })
  return method
}

export function createFailure(decline: Decline, extra: Partial<CardFailure> = {}): CardFailure {
  const { code, declineCode, adviceCode, message } = decline
  return {
    type: 'card_error',
    code,
    doc_url: `https://stripe.com/docs/error-codes/${code.replaceAll('_', '-')}`,
    message,
    ...(declineCode === undefined ? {} : { decline_code: declineCode }),
    ...(adviceCode === undefined ? {} : { advice_code: adviceCode }),
    ...(code === 'card_declined' ? { network_decline_code: '05' } : {}),
    ...extra,
  }
}

/** Saves a card with a customer; a card may decline that already. */
export function attachMethod(work: Work, method: PaymentMethod, customerId: string): void {
  const { account } = work
  if (method.customer === customerId) return
  if (method.customer !== null) {
    const message =
      'The payment method you provided has already been attached to a customer. Detach it first to attach it to another.'
    throw invalidRequest(message, { code: 'resource_already_exists' })
  }
  const state = account.cards.get(method.id)
  if (state?.isSpent) resolveMethod(work, { payment_method: method.id })
  if (state?.behaviour.decline && state.behaviour.declinesAt === 'attach')
    throw cardRefused(createFailure(state.behaviour.decline))
  method.customer = customerId
  listUnder(account, method, customerId)
  emit(work, 'payment_method.attached', method)
}

/** A card for later charges: it has to be its customer's already. */
export function requireAttached(
  work: Work,
  methodId: string,
  customerId: string,
  param: string,
): PaymentMethod {
  const method = findObject<PaymentMethod>(work.account, 'payment_method', methodId)
  if (method?.customer === customerId) return method
  const message = `The customer does not have a payment method with the ID ${methodId}. The payment method must be attached to the customer.`
  throw invalidRequest(message, { code: 'resource_missing', param })
}

const nothing = z.strictObject({})

const methodList = listRoute<PaymentMethod>('payment_method', 'payment_methods', {
  parents: ['customer'],
  equals: ['type'],
  isShown: (method, { customer }) => customer === undefined || method.customer === customer,
})

export const methodRoutes: Routes = {
  'POST payment_methods': route('method', methodData, createMethod),
  'GET payment_methods': methodList,
  'GET customers/:id/payment_methods': {
    operation: 'read',
    run: (work, form, id) => methodList.run(work, { ...form, customer: id }, id),
  },
  'GET payment_methods/:id': route('read', nothing, ({ account }, _, id) =>
    getObject(account, 'payment_method', id, 'payment_method'),
  ),
  'POST payment_methods/:id': route(
    'method',
    z.strictObject({ metadata, billing_details: billingDetails }),
    ({ account }, params, id) => {
      const method = getObject<PaymentMethod>(account, 'payment_method', id)
      method.metadata = changeMetadata(method.metadata, params.metadata)
      const { email, name, phone } = params.billing_details ?? {}
      for (const [field, value] of Object.entries({ email, name, phone }))
        if (value !== undefined) Object.assign(method.billing_details, { [field]: value })
      return method
    },
  ),
  'POST payment_methods/:id/attach': route(
    'method',
    z.strictObject({ customer: text }),
    (work, params, id) => {
      const { customer } = params
      getObject<Customer>(work.account, 'customer', customer, 'customer')
      const method = resolveMethod(work, { payment_method: id })!
      attachMethod(work, method, customer)
      return method
    },
  ),
  'POST payment_methods/:id/detach': route('method', nothing, (work, _, id) => {
    const { account } = work
    const method = getObject<PaymentMethod>(account, 'payment_method', id, 'payment_method')
    const { customer } = method
    if (customer === null) {
      throw invalidRequest(
        'The payment method you provided is not attached to a customer so detachment is impossible.',
      )
    }
    method.customer = null
    account.cards.get(id)!.isSpent = true
    forgetDefault(work, customer, id)
    emit(work, 'payment_method.detached', method, { customer })
    return method
  }),
}

function forgetDefault({ account }: Work, customerId: string, methodId: string): void {
  const settings = findObject<Customer>(account, 'customer', customerId)?.invoice_settings
  if (settings?.default_payment_method === methodId) settings.default_payment_method = null
}
