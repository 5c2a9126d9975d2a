import { z } from 'zod'
import { optional, optionalObject, optionalText } from '#connections'
import type { NotDone, Outcome } from '#connections'
import { callMercadopago, type Context, idText, isMissing, refuse } from './mercadopago-account.ts'
import { refuseUnpaid } from './mercadopago-account.ts'
import { describeMethod } from './mercadopago-mapping.ts'
import type { Customer, MethodChoice, MethodCommand, MethodRef, MethodSnapshot } from './provider.ts'

const anything = z.unknown().transform(() => true)
const customerAnswer = z.looseObject({ id: idText })
const customersAnswer = z.looseObject({ results: z.array(customerAnswer) })
const cardAnswer = z.looseObject({
  id: idText,
  last_four_digits: optionalText,
  payment_method: optionalObject({ id: optionalText, payment_type_id: optionalText }),
  issuer: optionalObject({ id: optional(idText) }),
})

/** What a charge is made with: a saved card gives a token for each charge. */
export async function makeCardToken(
  choice: MethodChoice,
  key: string,
  context: Context,
): Promise<Outcome<{ cardToken: string }>> {
  if (choice.kind === 'token') return { outcome: 'done', cardToken: choice.token }
  const { customer, card } = choice.token
  if (!customer || !card) return refuse('content', 'That is no card saved at MercadoPago.')
  const outcome = await callMercadopago(context, {
    method: 'POST',
    path: ['v1', 'card_tokens'],
    key: `${key}-token`,
    body: { card_id: card, customer_id: customer },
    answer: z.looseObject({ id: z.string().min(1) }),
  })
  if (outcome.outcome !== 'done') return explainSavedCard(outcome, choice)
  return { outcome: 'done', cardToken: outcome.answer.id }
}

/** Some accounts may charge a saved card only with its security code, which the customer alone can enter. */
export function explainSavedCard(outcome: NotDone, { kind }: MethodChoice): NotDone {
  const { error } = outcome
  if (kind !== 'saved' || outcome.outcome !== 'refused' || !/cvv|security|token/i.test(error.message)) {
    return outcome
  }
  const message = `${error.message}. It may want the security code of the saved card: let the customer enter it and pay with the new token.`
  return { outcome: 'refused', error: { ...error, message } }
}

export async function saveMethod(
  command: MethodCommand,
  context: Context,
): Promise<Outcome<{ snapshot: MethodSnapshot }>> {
  const { token, customer, key } = command
  if (!token) return refuse('content', 'MercadoPago saves a card by a token of its browser library only.')
  if (!customer.email) return refuse('content', 'MercadoPago wants the customer’s e-mail address.')
  const owner = await findCustomer({ ...customer, email: customer.email }, key, context)
  if (owner.outcome !== 'done') return owner
  const path = ['v1', 'customers', owner.id, 'cards']
  const call = { method: 'POST', path, key: `${key}-card`, body: { token }, answer: cardAnswer } as const
  const outcome = await callMercadopago(context, call)
  if (outcome.outcome !== 'done') return outcome
  const { id, payment_method: method, issuer, last_four_digits } = outcome.answer
  const saved = {
    customer: owner.id,
    card: id,
    ...(method?.id && { brand: method.id }),
    ...(issuer?.id && { issuer: issuer.id }),
  }
  const summary = describeMethod({
    payment_method_id: method?.id,
    payment_type_id: method?.payment_type_id,
    card: { last_four_digits },
  })
  return { outcome: 'done', snapshot: { status: 'active', token: saved, summary } }
}

/** An e-mail address is one customer's at MercadoPago: making a second is refused. */
async function findCustomer(
  customer: Customer & { email: string },
  key: string,
  context: Context,
): Promise<Outcome<{ id: string }>> {
  const path = ['v1', 'customers']
  const found = await callMercadopago(context, {
    path: [...path, 'search'],
    query: { email: customer.email },
    answer: customersAnswer,
  })
  if (found.outcome !== 'done') return refuseUnpaid(found)
  const known = found.answer.results[0]
  if (known) return { outcome: 'done', id: known.id }
  const body = writePerson(customer, 'first_name', 'last_name')
  const call = { method: 'POST', path, key: `${key}-customer`, body, answer: customerAnswer } as const
  const made = await callMercadopago(context, call)
  return made.outcome === 'done' ? { outcome: 'done', id: made.answer.id } : made
}

export async function removeMethod(
  token: Readonly<Record<string, string>>,
  ref: MethodRef,
  context: Context,
): Promise<Outcome<object>> {
  const path = ['v1', 'customers', token.customer ?? '', 'cards', token.card ?? '']
  const call = { method: 'DELETE', path, key: `${ref.methodId}-remove`, answer: anything } as const
  const outcome = await callMercadopago(context, call)
  return isMissing(outcome) ? { outcome: 'done' } : outcome
}

/** Names go by other fields on a page than in a payment. */
export function writePerson({ email, name, document }: Customer, first: string, last: string): object {
  const [given, ...family] = name?.trim().split(/\s+/) ?? []
  return {
    ...(email && { email }),
    ...(given && { [first]: given }),
    ...(family.length > 0 && { [last]: family.join(' ') }),
    ...(document && { identification: { type: document.type, number: document.number } }),
  }
}
