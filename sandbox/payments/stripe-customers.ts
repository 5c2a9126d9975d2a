import { z } from 'zod'
import { invalidRequest, resourceMissing } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import { attachMethod, requireAttached, resolveMethod } from './stripe-methods.ts'
import type { Customer, PaymentMethod } from './stripe-objects.ts'
import { changeMetadata, ignored, metadata, optionalText, text } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject, indexMetadata, objectsOf } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const shared = {
  address: ignored,
  balance: ignored,
  description: optionalText,
  email: optionalText,
  invoice_settings: z
    .strictObject({ default_payment_method: optionalText, custom_fields: ignored, footer: ignored })
    .optional(),
  metadata,
  name: optionalText,
  phone: optionalText,
  preferred_locales: ignored,
  shipping: ignored,
  tax: ignored,
  tax_exempt: ignored,
}

const created = z.strictObject({ ...shared, payment_method: text.optional(), tax_id_data: ignored })
const changed = z.strictObject(shared)

export type NewCustomer = Partial<Pick<Customer, 'email' | 'name' | 'phone' | 'description' | 'metadata'>>

export function createCustomer(work: Work, made: NewCustomer): Customer {
  const customer = addObject<Customer>(work, {
    id: createId('cus', 10),
    object: 'customer',
    balance: 0,
    created: work.at,
    delinquent: false,
    description: null,
    email: null,
    invoice_settings: { default_payment_method: null },
    livemode: work.account.livemode,
    metadata: {},
    name: null,
    phone: null,
    ...made,
  })
  emit(work, 'customer.created', customer)
  return customer
}

/** A customer that is there and was not deleted. */
export function getCustomer({ account }: Work, id: string, param = 'customer'): Customer {
  const customer = getObject<Customer>(account, 'customer', id, param)
  if (customer.deleted) throw resourceMissing('customer', id, param)
  return customer
}

function create(work: Work, params: z.infer<typeof created>): Customer {
  const { email, description, name, phone } = params
  checkEmail(email)
  const method = resolveMethod(work, { payment_method: params.payment_method })
  const customer = createCustomer(work, {
    email: email ?? null,
    description: description ?? null,
    name: name ?? null,
    phone: phone ?? null,
    metadata: changeMetadata({}, params.metadata),
  })
  if (method) attachMethod(work, method, customer.id)
  setDefault(work, customer, params.invoice_settings?.default_payment_method, method)
  return customer
}

function change(work: Work, params: z.infer<typeof changed>, id: string): Customer {
  const customer = getCustomer(work, id, 'id')
  const { email, description, name, phone } = params
  checkEmail(email)
  for (const [field, value] of Object.entries({ email, description, name, phone }))
    if (value !== undefined) Object.assign(customer, { [field]: value })
  customer.metadata = changeMetadata(customer.metadata, params.metadata)
  indexMetadata(work.account, customer)
  setDefault(work, customer, params.invoice_settings?.default_payment_method, null)
  emit(work, 'customer.updated', customer)
  return customer
}

/** `pm_card_…` named twice in one call is one card. */
function setDefault(
  work: Work,
  customer: Customer,
  id: string | null | undefined,
  attached: PaymentMethod | null,
): void {
  if (id === undefined) return
  const param = 'invoice_settings[default_payment_method]'
  const isSame = id !== null && id.startsWith('pm_card_') && attached !== null
  const method = id === null ? null : isSame ? attached : requireAttached(work, id, customer.id, param)
  customer.invoice_settings.default_payment_method = method?.id ?? null
}

function checkEmail(email: string | null | undefined): void {
  if (typeof email === 'string' && !/^[^\s@]+@[^\s@]+$/.test(email))
    throw invalidRequest(`Invalid email address: ${email}`, { code: 'email_invalid', param: 'email' })
}

const nothing = z.strictObject({})

export const customerRoutes: Routes = {
  'POST customers': route('method', created, create),
  'GET customers': listRoute<Customer>('customer', 'customers', {
    equals: ['email'],
    isShown: ({ deleted }) => !deleted,
  }),
  'GET customers/:id': route('read', nothing, ({ account }, _, id) => {
    const customer = getObject<Customer>(account, 'customer', id)
    return customer.deleted ? { id, object: 'customer', deleted: true } : customer
  }),
  'POST customers/:id': route('method', changed, change),
  'DELETE customers/:id': route('method', nothing, (work, _, id) => {
    const customer = getCustomer(work, id, 'id')
    customer.deleted = true
    for (const method of objectsOf<PaymentMethod>(work.account, 'payment_method', id)) method.customer = null
    emit(work, 'customer.deleted', customer)
    return { id, object: 'customer', deleted: true }
  }),
}
