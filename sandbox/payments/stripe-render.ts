import type { InvoicePayment, Subscription } from './stripe-billing-objects.ts'
import { invalidRequest } from './stripe-errors.ts'
import type { FormValue } from './stripe-form.ts'
import { listOf } from './stripe-lists.ts'
import type { Refund, StripeObject } from './stripe-objects.ts'
import { findObject, objectsOf } from './stripe-state.ts'
import type { StripeAccount } from './stripe-state.ts'

type Fields = Record<string, unknown>
type Extra = (account: StripeAccount, object: StripeObject) => unknown

const DEEPEST = 4

/** What is in an answer only when it is asked for. */
const extras: Record<string, Extra> = {
  'charge refunds': (account, { id }) =>
    listOf(`/v1/charges/${id}/refunds`, [...objectsOf<Refund>(account, 'refund', id)]),
  'checkout.session line_items': (account, { id }) =>
    listOf(`/v1/checkout/sessions/${id}/line_items`, account.checkouts.get(id)?.items ?? []),
  'customer subscriptions': (account, { id }) =>
    listOf(`/v1/subscriptions?customer=${id}`, [...objectsOf<Subscription>(account, 'subscription', id)]),
  'invoice confirmation_secret': (account, { id }) => {
    const [payment] = objectsOf<InvoicePayment>(account, 'invoice_payment', id)
    const intent = account.objects.get(payment?.payment.payment_intent ?? '') as Fields | undefined
    return intent ? { type: 'payment_intent', client_secret: intent['client_secret'] } : null
  },
  'invoice payments': (account, { id }) =>
    listOf(`/v1/invoices/${id}/payments`, [...objectsOf<InvoicePayment>(account, 'invoice_payment', id)]),
}

/** The object as it is answered, with ids of `expand[]` replaced by what they name. */
export function renderObject(account: StripeAccount, object: object, expand: readonly string[]): object {
  return expandFields(account, object as Fields, expand.map(splitPath))
}

export function readExpand(value: FormValue | undefined): string[] {
  if (value === undefined) return []
  if (Array.isArray(value) && value.every((path) => typeof path === 'string')) return value
  throw invalidRequest('Invalid array', { param: 'expand' })
}

function splitPath(path: string): string[] {
  const parts = path.split('.')
  if (parts.length <= DEEPEST + 1) return parts
  const message = `You cannot expand more than ${DEEPEST} levels of a property (property: ${path}).`
  throw invalidRequest(message, { param: 'expand' })
}

function expandFields(account: StripeAccount, object: Fields, paths: string[][]): Fields {
  if (paths.length === 0) return object
  const rests = new Map<string, string[][]>()
  for (const [name = '', ...rest] of paths) {
    const known = rests.get(name) ?? []
    rests.set(name, rest.length > 0 ? [...known, rest] : known)
  }
  const expanded = [...rests].map(([name, rest]) => [name, expandField(account, object, name, rest)])
  return { ...object, ...(Object.fromEntries(expanded) as Fields) }
}

function expandField(account: StripeAccount, object: Fields, name: string, rest: string[][]): unknown {
  const extra = extras[`${String(object['object'])} ${name}`]
  const value = extra ? extra(account, object as StripeObject) : object[name]
  const into = (part: unknown): unknown => {
    if (typeof part === 'string') return expandFields(account, findNamed(account, part, name), rest)
    return typeof part === 'object' && part !== null ? expandFields(account, part as Fields, rest) : part
  }
  if (value === undefined) throw refuse(name)
  return Array.isArray(value) ? value.map(into) : into(value)
}

function findNamed(account: StripeAccount, id: string, name: string): Fields {
  const object = account.objects.get(id)
  if (!object) throw refuse(name)
  const isDeleted = findObject<StripeObject & { deleted?: true }>(account, 'customer', id)?.deleted
  return isDeleted ? { id, object: 'customer', deleted: true } : object
}

function refuse(name: string): Error {
  return invalidRequest(`This property cannot be expanded (${name}).`, { param: 'expand' })
}
