import { decodePart } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import type { Mercadopago, MercadopagoAccount } from './mercadopago-account.ts'
import { createCardToken, readCardToken } from './mercadopago-cards.ts'
import { answerReadChargeback, searchChargebacks } from './mercadopago-chargebacks.ts'
import {
  answerCard,
  answerCreateCustomer,
  answerReadCustomer,
  answerRemoveCustomer,
  answerSaveCard,
  answerUpdateCustomer,
  listCards,
  searchCustomers,
} from './mercadopago-customers.ts'
import type { Customer } from './mercadopago-customers.ts'
import { answerReadOrder, searchOrders } from './mercadopago-orders.ts'
import { answerCreatePayment, answerReadPayment, answerUpdatePayment } from './mercadopago-payment-calls.ts'
import type { Payment } from './mercadopago-payment.ts'
import { answerCreatePlan, answerReadPlan, answerUpdatePlan, searchPlans } from './mercadopago-plans.ts'
import type { Plan, Preapproval } from './mercadopago-preapproval.ts'
import {
  answerCreatePreference,
  answerReadPreference,
  answerUpdatePreference,
  searchPreferences,
} from './mercadopago-preferences.ts'
import type { Preference } from './mercadopago-preferences.ts'
import { createRefund, listRefunds, readRefund } from './mercadopago-refunds.ts'
import { answerReadInvoice, searchInvoices } from './mercadopago-renewals.ts'
import { refuse, refuseCause, refuseSubscription } from './mercadopago-replies.ts'
import { searchPayments } from './mercadopago-search.ts'
import {
  answerCreatePreapproval,
  answerReadPreapproval,
  answerUpdatePreapproval,
  searchPreapprovals,
} from './mercadopago-subscriptions.ts'
import { answerMethods, answerUser } from './mercadopago-users.ts'
import type { Turn } from './mercadopago-webhooks.ts'
import type { PaymentOperation } from './payment-faults.ts'

type Body = Record<string, unknown>
type Asked = { turn: Turn; ids: string[]; call: Call; body: Body }

export type Route = {
  operation: PaymentOperation | ((body: Body) => PaymentOperation)
  /** It must have, and honours, an idempotency key. */
  isKeyed: boolean
  /** The caller's own name of what the path is about. */
  nameOf(mercadopago: Mercadopago, id: string): string | null
  answer(asked: Asked): Reply
}

type Answer = (asked: Asked) => Reply

/** `GET /v1/payments/:id`, with or without a slash at the end; the first that fits counts. */
const routes: Array<
  [pattern: string, operation: Route['operation'], answer: Answer, extra?: Partial<Route>]
> = [
  ['POST /v1/payments', 'create', ({ turn, body }) => answerCreatePayment(turn, body), { isKeyed: true }],
  ['GET /v1/payments/search', 'read', ({ turn, call }) => searchPayments(turn, call.query)],
  ['GET /v1/payments/:id', 'read', ofPayment((turn, payment) => answerReadPayment(turn, payment))],
  [
    'PUT /v1/payments/:id',
    ({ capture }) => (capture === true ? 'capture' : 'cancel'),
    ofPayment((turn, payment, { body }) => answerUpdatePayment(turn, payment, body)),
  ],
  [
    'POST /v1/payments/:id/refunds',
    'refund',
    ofPayment((turn, payment, { body }) => createRefund(turn, payment, body)),
    { isKeyed: true },
  ],
  ['GET /v1/payments/:id/refunds', 'read', ofPayment((_, payment) => listRefunds(payment))],
  [
    'GET /v1/payments/:id/refunds/:id',
    'read',
    ofPayment((_, payment, { ids }) => readRefund(payment, ids[1]!)),
  ],
  ['POST /checkout/preferences', 'checkout', ({ turn, body }) => answerCreatePreference(turn, body)],
  ['GET /checkout/preferences/search', 'read', ({ turn, call }) => searchPreferences(turn, call.query)],
  [
    'GET /checkout/preferences/:id',
    'read',
    ofPreference((turn, preference) => answerReadPreference(turn, preference)),
  ],
  [
    'PUT /checkout/preferences/:id',
    'checkout',
    ofPreference((turn, preference, { body }) => answerUpdatePreference(turn, preference, body)),
  ],
  ['POST /preapproval', 'subscription', ({ turn, body }) => answerCreatePreapproval(turn, body)],
  ['GET /preapproval/search', 'read', ({ turn, call }) => searchPreapprovals(turn, call.query)],
  [
    'GET /preapproval/:id',
    'read',
    ofPreapproval((turn, preapproval) => answerReadPreapproval(turn, preapproval)),
  ],
  [
    'PUT /preapproval/:id',
    'subscription',
    ofPreapproval((turn, preapproval, { body }) => answerUpdatePreapproval(turn, preapproval, body)),
  ],
  ['POST /preapproval_plan', 'subscription', ({ turn, body }) => answerCreatePlan(turn, body)],
  ['GET /preapproval_plan/search', 'read', ({ turn, call }) => searchPlans(turn, call.query)],
  ['GET /preapproval_plan/:id', 'read', ofPlan((turn, plan) => answerReadPlan(turn, plan))],
  [
    'PUT /preapproval_plan/:id',
    'subscription',
    ofPlan((turn, plan, { body }) => answerUpdatePlan(turn, plan, body)),
  ],
  ['GET /authorized_payments/search', 'read', ({ turn, call }) => searchInvoices(turn, call.query)],
  ['GET /authorized_payments/:id', 'read', answerInvoice],
  ['POST /v1/card_tokens', 'method', ({ turn, body }) => createCardToken(turn, body)],
  [
    'GET /v1/card_tokens/:id',
    'read',
    ({ turn, ids }) => readCardToken(turn.mercadopago, turn.account, ids[0]!),
  ],
  ['POST /v1/customers', 'method', ({ turn, body }) => answerCreateCustomer(turn, body)],
  ['GET /v1/customers/search', 'read', ({ turn, call }) => searchCustomers(turn, call.query)],
  ['GET /v1/customers/:id', 'read', ofCustomer((_, customer) => answerReadCustomer(customer))],
  [
    'PUT /v1/customers/:id',
    'method',
    ofCustomer((turn, customer, { body }) => answerUpdateCustomer(turn, customer, body)),
  ],
  [
    'DELETE /v1/customers/:id',
    'method',
    ofCustomer((turn, customer) => answerRemoveCustomer(turn, customer)),
  ],
  [
    'POST /v1/customers/:id/cards',
    'method',
    ofCustomer((turn, customer, { body }) => answerSaveCard(turn, customer, body)),
  ],
  ['GET /v1/customers/:id/cards', 'read', ofCustomer((_, customer) => listCards(customer))],
  ['GET /v1/customers/:id/cards/:id', 'read', ofCustomer(answerCardCall)],
  ['PUT /v1/customers/:id/cards/:id', 'method', ofCustomer(answerCardCall)],
  ['DELETE /v1/customers/:id/cards/:id', 'method', ofCustomer(answerCardCall)],
  ['GET /merchant_orders/search', 'read', ({ turn, call }) => searchOrders(turn, call.query)],
  ['GET /merchant_orders/:id', 'read', answerOrder],
  ['GET /v1/chargebacks/search', 'read', ({ turn, call }) => searchChargebacks(turn, call.query)],
  ['GET /v1/chargebacks/:id', 'read', answerChargeback],
  ['GET /users/me', 'read', ({ turn }) => answerUser(turn.account)],
  ['GET /v1/payment_methods', 'read', ({ turn }) => answerMethods(turn.account)],
]

const compiled = routes.map(([pattern, operation, answer, extra]) => {
  const [method = '', path = ''] = pattern.split(' ')
  const route: Route = { operation, isKeyed: false, nameOf: namerOf(path), answer, ...extra }
  return { method, path: new RegExp(`^${path.replaceAll(':id', '([^/]+)')}/?$`), route }
})

export function findRoute(call: Call): { route: Route; ids: string[] } | null {
  for (const { method, path, route } of compiled) {
    const match = method === call.method ? path.exec(call.path) : null
    if (match) return { route, ids: match.slice(1).map(decodePart) }
  }
  return null
}

function namerOf(path: string): Route['nameOf'] {
  if (path.startsWith('/v1/payments/:id'))
    return (mercadopago, id) => mercadopago.payments.get(Number(id))?.externalReference ?? null
  if (path.startsWith('/checkout'))
    return (mercadopago, id) => mercadopago.preferences.get(id)?.externalReference ?? null
  if (path.startsWith('/preapproval/'))
    return (mercadopago, id) => mercadopago.preapprovals.get(id)?.externalReference ?? null
  return () => null
}

type AnswerOf<One> = (turn: Turn, one: One, asked: Asked) => Reply

/** What another seller has does not exist for this one. */
function owned<One extends { account: MercadopagoAccount }>(
  one: One | undefined,
  { account }: Turn,
): One | null {
  return one?.account === account ? one : null
}

function ofPayment(answer: AnswerOf<Payment>): Answer {
  return (asked) => {
    const { turn, ids } = asked
    const payment = owned(turn.mercadopago.payments.get(Number(ids[0])), turn)
    return payment ? answer(turn, payment, asked) : refuseCause(2000, 'Payment not found', 404)
  }
}

function ofPreference(answer: AnswerOf<Preference>): Answer {
  return (asked) => {
    const { turn, ids } = asked
    const preference = owned(turn.mercadopago.preferences.get(ids[0]!), turn)
    if (preference) return answer(turn, preference, asked)
    return refuse(404, `Checkout preference with id ${ids[0]} not found`)
  }
}

/** Here another seller's is not missing but refused. Ids may come back in the case a webhook had. */
function ofPreapproval(answer: AnswerOf<Preapproval>): Answer {
  return (asked) => {
    const { turn, ids } = asked
    const id = ids[0]!.toLowerCase()
    const preapproval = turn.mercadopago.preapprovals.get(id)
    if (!preapproval) return refuseSubscription(`The preapproval with id ${id} does not exist`, 404)
    if (preapproval.account === turn.account) return answer(turn, preapproval, asked)
    return refuseSubscription(
      `The preapproval with id ${id} is not valid for callerId ${turn.account.userId}`,
    )
  }
}

function ofPlan(answer: AnswerOf<Plan>): Answer {
  return (asked) => {
    const { turn, ids } = asked
    const plan = owned(turn.mercadopago.plans.get(ids[0]!), turn)
    if (plan) return answer(turn, plan, asked)
    return refuseSubscription(`The template with id ${ids[0]} does not exist`, 404)
  }
}

function ofCustomer(answer: AnswerOf<Customer>): Answer {
  return (asked) => {
    const { turn, ids } = asked
    const customer = owned(turn.mercadopago.customers.get(ids[0]!), turn)
    return customer ? answer(turn, customer, asked) : refuseCause(2002, 'Customer not found', 404)
  }
}

function answerCardCall(turn: Turn, customer: Customer, { ids, call, body }: Asked): Reply {
  return answerCard(turn, customer, ids[1]!, call.method, body)
}

function answerInvoice({ turn, ids }: Asked): Reply {
  const invoice = turn.mercadopago.invoices.get(ids[0]!)
  const isOurs = invoice?.preapproval.account === turn.account
  return isOurs ? answerReadInvoice(invoice) : refuseSubscription('Authorized payment not found', 404)
}

function answerOrder({ turn, ids }: Asked): Reply {
  const order = owned(turn.mercadopago.orders.get(Number(ids[0])), turn)
  return order ? answerReadOrder(order) : refuse(404, 'Merchant order not found')
}

function answerChargeback({ turn, ids }: Asked): Reply {
  const chargeback = turn.mercadopago.chargebacks.get(ids[0]!)
  const isOurs = chargeback?.payment.account === turn.account
  return isOurs ? answerReadChargeback(chargeback) : refuse(404, 'Chargeback not found')
}
