import { z } from 'zod'
import { decodePart, isObject } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { inputError } from '../providers/simulator.ts'
import type { World } from '../world.ts'
import { toMajor } from './amounts.ts'
import { pickPaymentFault, playAfterEffect, playBeforeEffect } from './payment-faults.ts'
import type { PaymentSimulator } from './simulator.ts'
import {
  createTransbankState,
  findTransbankAccount,
  putTransbankAccount,
  viewTransbankAccount,
} from './transbank-account.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'
import { payTransbank } from './transbank-customer.ts'
import { deleteInscription, finishInscription, readBin, startInscription } from './transbank-inscriptions.ts'
import type { Enrolment } from './transbank-inscriptions.ts'
import { authorizePayment, capturePayment, readPaymentStatus, refundPayment } from './transbank-oneclick.ts'
import { answerWebpayPage, listTransbankPages } from './transbank-pages.ts'
import { readTransbankBody, refuseByFault, transbankError } from './transbank-rules.ts'
import type { Action, ApiCall } from './transbank-rules.ts'
import { balanceOf, refundSale } from './transbank-sales.ts'
import {
  captureTransaction,
  commitTransaction,
  createTransaction,
  readTransactionStatus,
  refundTransaction,
} from './transbank-webpay.ts'

export function createTransbank(world: World): PaymentSimulator {
  const transbank = createTransbankState(world)
  return {
    id: 'transbank',
    title: 'Transbank',
    answer: async (call) =>
      call.path.startsWith('/webpayserver/') ? answerWebpayPage(transbank, call) : answerApi(transbank, call),
    putAccount: async (name, input) => putTransbankAccount(transbank, name, input),
    listAccounts: () => [...transbank.accounts.values()].map(viewTransbankAccount),
    pay: async (input) => payTransbank(transbank, input),
    act: async (action, input) => act(transbank, action, input),
    listOpenPages: (limit) => listTransbankPages(transbank, limit),
    clear() {
      const { accounts: _accounts, world: _world, ...state } = transbank
      for (const one of Object.values(state)) one.clear()
    },
    clearAccounts: () => transbank.accounts.clear(),
  }
}

type Route = {
  method: string
  path: RegExp
  product: 'webpay' | 'oneclick'
  open(call: ApiCall): Action | Reply
}

function webpay(method: string, path: string, open: Route['open']): Route {
  const whole = new RegExp(`^/rswebpaytransaction/api/webpay/v1\\.2/${path}$`)
  return { method, path: whole, product: 'webpay', open }
}

function oneclick(method: string, path: string, open: Route['open'], prefix = 'oneclick'): Route {
  const whole = new RegExp(`^/rswebpaytransaction/api/${prefix}/v1\\.2/${path}$`)
  return { method, path: whole, product: 'oneclick', open }
}

/** Of the first that fits: `transactions/capture` stands before what takes any order. */
const routes: readonly Route[] = [
  webpay('POST', 'transactions', createTransaction),
  webpay('PUT', 'transactions/([^/]+)', commitTransaction),
  webpay('GET', 'transactions/([^/]+)', readTransactionStatus),
  webpay('POST', 'transactions/([^/]+)/refunds', refundTransaction),
  webpay('PUT', 'transactions/([^/]+)/capture', captureTransaction),
  oneclick('POST', 'inscriptions', startInscription),
  oneclick('DELETE', 'inscriptions', deleteInscription),
  oneclick('PUT', 'inscriptions/([^/]+)', finishInscription),
  oneclick('POST', 'transactions', authorizePayment),
  oneclick('PUT', 'transactions/capture', capturePayment),
  oneclick('PUT', 'transactions/capture', capturePayment, 'oneclick/mall'),
  oneclick('GET', 'transactions/([^/]+)', readPaymentStatus),
  oneclick('POST', 'transactions/([^/]+)/refunds', refundPayment),
  oneclick('POST', 'bin_info', readBin),
]

async function answerApi(transbank: Transbank, call: Call): Promise<Reply> {
  const known = routes.filter(({ path }) => path.test(call.path))
  if (known.length === 0) return transbankError(404, 'Not Found')
  const route = known.find(({ method }) => method === call.method)
  if (!route) return transbankError(405, `Request method '${call.method}' is not supported`)
  const { 'tbk-api-key-id': code = '', 'tbk-api-key-secret': apiKey = '' } = call.headers
  const account = findTransbankAccount(transbank, code, apiKey)
  if (!account || !isOf(account, route.product)) return transbankError(401, 'Not Authorized')
  const read = readTransbankBody(call)
  if ('error' in read) return read.error
  const id = decodePart(route.path.exec(call.path)?.[1] ?? '')
  const action = route.open({ transbank, account, id, body: read.body })
  return 'operation' in action ? carryOut(transbank, action) : action
}

function isOf({ product }: TransbankAccount, called: Route['product']): boolean {
  return product === null || product.startsWith(called)
}

async function carryOut({ world }: Transbank, action: Action): Promise<Reply> {
  const { operation, reference } = action
  const fault = pickPaymentFault(world, { provider: 'transbank', operation, reference })
  const early = await playBeforeEffect(fault, refuseByFault)
  if (early) {
    action.release?.()
    return early
  }
  const reply = action.run()
  return playAfterEffect(fault, fault?.name === 'odd_status' ? withOddStatus(reply) : reply)
}

const ODD_WORD = 'RESERVED_FOR_REVIEW'

/** The answer with words nobody knows, in itself and in the shops’ parts. */
function withOddStatus(reply: Reply): Reply {
  if (typeof reply.body !== 'string') return reply
  const body = JSON.parse(reply.body, (name, value: unknown) =>
    (name === 'status' || name === 'type') && typeof value === 'string' ? ODD_WORD : value,
  ) as unknown
  return { ...reply, body: JSON.stringify(body) }
}

const refundSchema = z.strictObject({
  /** Token, ledger id, or an order. */
  payment: z.string(),
  /** Minor units; without it, all that is left. */
  amount: z.number().int().min(1).optional(),
})

const cardSchema = z.strictObject({ tbk_user: z.string().optional() })

const declineSchema = z.strictObject({
  tbk_user: z.string().optional(),
  /** Null ends it. */
  response_code: z.number().int().max(-1).nullable().default(-4),
  times: z.number().int().min(1).nullable().default(1),
  /** Only this shop’s part. */
  commerce_code: z.string().nullable().default(null),
})

/** What people do at Transbank: there is no webhook, so nobody hears of it. */
function act(transbank: Transbank, action: string, input: unknown): Record<string, unknown> {
  if (action === 'refund') {
    const { payment, amount } = refundSchema.parse(input)
    const sale = transbank.sales.get(payment)
    if (!sale || sale.responseCode !== 0) throw inputError('payment', 'nothing was paid under this')
    const { status, body } = refundSale(transbank, sale, amount ?? balanceOf(sale))
    const told: unknown = JSON.parse(String(body))
    if (status !== 200 || !isObject(told) || told['type'] === undefined) {
      throw inputError('payment', `Transbank refused it: ${String(body)}`)
    }
    const { currency } = sale.account
    return { ...told, status: sale.status, balance: toMajor(balanceOf(sale), currency) }
  }
  if (action === 'decline_next') {
    const change = declineSchema.parse(input)
    const enrolment = enrolmentOf(transbank, change.tbk_user)
    const { response_code: responseCode, times: timesLeft, commerce_code: shop } = change
    enrolment.decline = responseCode === null ? null : { responseCode, timesLeft, shop }
    return { tbk_user: enrolment.tbkUser, decline: enrolment.decline }
  }
  if (action === 'remove_card') {
    const enrolment = enrolmentOf(transbank, cardSchema.parse(input).tbk_user)
    transbank.enrolments.delete(enrolment.tbkUser)
    return { tbk_user: enrolment.tbkUser, removed: true }
  }
  throw inputError('action', 'Transbank knows refund, decline_next and remove_card')
}

/** Without a name it is the card that was saved last. */
function enrolmentOf(transbank: Transbank, tbkUser: string | undefined): Enrolment {
  const enrolment =
    tbkUser === undefined ? [...transbank.enrolments.values()].at(-1) : transbank.enrolments.get(tbkUser)
  if (!enrolment) throw inputError('tbk_user', 'no such card')
  return enrolment
}
