import { z } from 'zod'
import type { Invoice, InvoicePayment } from './stripe-billing-objects.ts'
import { intentOf } from './stripe-billing.ts'
import { collectInvoice, issueInvoice, voidInvoice } from './stripe-collection.ts'
import { cardRefused, invalidRequest } from './stripe-errors.ts'
import { listRoute } from './stripe-lists.ts'
import { requireAttached } from './stripe-methods.ts'
import { boolean, readParams, text } from './stripe-params.ts'
import { writeOff } from './stripe-periods.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const paid = z.strictObject({
  off_session: boolean.optional(),
  paid_out_of_band: boolean.optional(),
  payment_method: text.optional(),
})

function pay(work: Work, params: z.infer<typeof paid>, id: string): Invoice {
  const invoice = getObject<Invoice>(work.account, 'invoice', id)
  if (invoice.status === 'draft') issueInvoice(work, invoice)
  if (invoice.status === 'paid') throw invalidRequest('Invoice is already paid')
  checkOpen(invoice, 'pay')
  const { payment_method: methodId, off_session: offSession = true } = params
  const method =
    methodId === undefined ? null : requireAttached(work, methodId, invoice.customer, 'payment_method')
  if (collectInvoice(work, invoice, { method, onSession: !offSession, isManual: true })) return invoice
  const intent = intentOf(work.account, invoice)
  if (intent?.last_payment_error) throw cardRefused(intent.last_payment_error, intent)
  if (intent?.payment_method) return invoice
  const message =
    'There is no `default_payment_method` set on this Customer or Invoice. Please set a default payment method.'
  throw invalidRequest(message, { code: 'resource_missing' })
}

function checkOpen(invoice: Invoice, verb: string): void {
  if (invoice.status === 'open' || invoice.status === 'uncollectible') return
  throw invalidRequest(
    `You can only ${verb} an open or uncollectible invoice. This one is ${invoice.status}.`,
    { code: 'status_transition_invalid' },
  )
}

const nothing = z.strictObject({})

const paymentFilter = z.strictObject({
  payment: z.strictObject({ type: z.literal('payment_intent'), payment_intent: text.optional() }).optional(),
})

const paymentList = listRoute<InvoicePayment>('invoice_payment', 'invoice_payments', {
  parents: ['invoice', 'payment_intent'],
  equals: ['status'],
})

export const invoiceRoutes: Routes = {
  'GET invoices': listRoute<Invoice>('invoice', 'invoices', {
    parents: ['customer', 'subscription'],
    equals: ['status', 'collection_method'],
  }),
  'GET invoices/:id': route('read', nothing, ({ account }, _, id) => getObject(account, 'invoice', id)),
  'POST invoices/:id/pay': route('subscription', paid, pay),
  'POST invoices/:id/finalize': route(
    'subscription',
    z.strictObject({ auto_advance: boolean.optional() }),
    (work, _, id) => {
      const invoice = getObject<Invoice>(work.account, 'invoice', id)
      if (invoice.status !== 'draft')
        throw invalidRequest('This invoice is already finalized.', { code: 'status_transition_invalid' })
      issueInvoice(work, invoice)
      return invoice
    },
  ),
  'POST invoices/:id/void': route('subscription', nothing, (work, _, id) => {
    const invoice = getObject<Invoice>(work.account, 'invoice', id)
    checkOpen(invoice, 'void')
    voidInvoice(work, invoice)
    return invoice
  }),
  'POST invoices/:id/mark_uncollectible': route('subscription', nothing, (work, _, id) => {
    const invoice = getObject<Invoice>(work.account, 'invoice', id)
    checkOpen(invoice, 'mark')
    writeOff(work, invoice)
    return invoice
  }),
  'GET invoice_payments': {
    operation: 'read',
    run(work, { payment, ...rest }, id) {
      const { payment: filter } = readParams(paymentFilter, payment === undefined ? {} : { payment })
      const intentId = filter?.payment_intent
      return paymentList.run(work, intentId === undefined ? rest : { ...rest, payment_intent: intentId }, id)
    },
  },
  'GET invoice_payments/:id': route('read', nothing, ({ account }, _, id) =>
    getObject(account, 'invoice_payment', id),
  ),
}
