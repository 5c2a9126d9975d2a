import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { createToken } from './transbank-account.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'
import type { TestCard } from './transbank-cards.ts'
import {
  amountIn,
  detailsOf,
  findDetailFault,
  findFieldFault,
  installmentsIn,
  orderRule,
  refuseTransbank,
  shopRule,
  textIn,
} from './transbank-rules.ts'
import type { Action, ApiCall, Body, FieldRules } from './transbank-rules.ts'
import { addSale, authorizeSale, captureSale, isHeld, refundSale, viewSale } from './transbank-sales.ts'
import type { Sale } from './transbank-sales.ts'

export type WebpayTransaction = {
  token: string
  account: TransbankAccount
  isMall: boolean
  order: string
  sessionId: string
  returnUrl: string
  /** One per shop. */
  sales: Sale[]
  /** How far the customer is; `committed` once the shop asked for the money. */
  phase: 'open' | 'paid' | 'aborted' | 'bank_aborted' | 'timed_out' | 'broken' | 'committed'
  /** Whether a commit is under way or has been. */
  isLocked: boolean
  createdAtMs: number
  /** When the customer was sent back. */
  endedAtMs: number
  card: TestCard | null
  /** What the commit will tell; zero is approved. */
  responseCode: number
}

const MINUTE_MS = 60_000
/** From the customer’s return; Transbank publishes none, but lets go what nobody commits. */
const COMMIT_WINDOW_MS = 10 * MINUTE_MS
const STATUS_WINDOW_MS = 7 * 24 * 60 * MINUTE_MS

const createRules: FieldRules = {
  buy_order: orderRule,
  session_id: { kind: 'text', longest: 61 },
  return_url: { kind: 'url', longest: 256 },
}
const plainRules: FieldRules = { ...createRules, amount: { kind: 'amount' } }
const mallRules: FieldRules = { ...createRules, details: { kind: 'list' } }

export function createTransaction({ transbank, account, body }: ApiCall): Action | Reply {
  const isMall = Object.hasOwn(body, 'details')
  const fault =
    findFieldFault(body, isMall ? mallRules : plainRules, account) ?? findDetailFault(body, account)
  if (fault) return fault
  const run = () => {
    const { token } = addTransaction({ transbank, account, body }, isMall)
    return replyJson(200, { token, url: `${transbank.world.url}/transbank/webpayserver/initTransaction` })
  }
  return { operation: 'checkout', reference: textIn(body, 'buy_order'), run }
}

function addTransaction(
  { transbank, account, body }: Omit<ApiCall, 'id'>,
  isMall: boolean,
): WebpayTransaction {
  const token = createToken()
  const order = textIn(body, 'buy_order')
  const details = isMall ? detailsOf(body) : [{ ...body, commerce_code: account.code }]
  const sales = details.map((detail, index) =>
    addSale(transbank, {
      id: index === 0 ? token : `${token}-${index + 1}`,
      reference: order,
      account,
      shop: textIn(detail, 'commerce_code'),
      order: textIn(detail, 'buy_order'),
      amount: amountIn(detail, 'amount', account),
      installments: installmentsIn(detail),
    }),
  )
  const transaction: WebpayTransaction = {
    token,
    account,
    isMall,
    order,
    sessionId: textIn(body, 'session_id'),
    returnUrl: textIn(body, 'return_url'),
    sales,
    phase: 'open',
    isLocked: false,
    createdAtMs: transbank.world.now().getTime(),
    endedAtMs: 0,
    card: null,
    responseCode: 0,
  }
  transbank.transactions.set(token, transaction)
  transbank.openTokens.add(token)
  return transaction
}

type Page<Phase> = { phase: Phase; createdAtMs: number; account: TransbankAccount }

/** How far the customer is, now: a form that stood open too long has timed out. */
export function phaseOf<Phase extends string>(
  { world }: Transbank,
  { phase, createdAtMs, account }: Page<Phase>,
): Phase | 'timed_out' {
  const ageMs = world.now().getTime() - createdAtMs
  return phase === 'open' && ageMs > account.formMinutes * MINUTE_MS ? 'timed_out' : phase
}

function findTransaction({ transbank, account, id }: ApiCall): WebpayTransaction | Reply {
  if (!/^[\da-f]{64}$/i.test(id)) return refuseTransbank('Invalid value for parameter: token')
  const transaction = transbank.transactions.get(id.toLowerCase())
  return transaction?.account === account ? transaction : refuseTransbank('Transaction not found')
}

export function commitTransaction(call: ApiCall): Action | Reply {
  const found = findTransaction(call)
  if (!('token' in found)) return found
  if (found.isLocked) return refuseTransbank('Transaction already locked by another process')
  found.isLocked = true
  const release = () => {
    found.isLocked = false
  }
  const run = () => {
    const refusal = findCommitFault(call.transbank, found)
    if (refusal !== null) {
      release()
      return refuseTransbank(refusal)
    }
    found.phase = 'committed'
    for (const sale of found.sales) authorizeSale(call.transbank, sale, found.card!, found.responseCode)
    return replyJson(200, viewTransaction(found))
  }
  return { operation: 'commit', reference: found.order, run, release }
}

/** Why there is nothing to commit; null when there is. */
function findCommitFault(transbank: Transbank, transaction: WebpayTransaction): string | null {
  const phase = phaseOf(transbank, transaction)
  const isLate = transbank.world.now().getTime() - transaction.endedAtMs > COMMIT_WINDOW_MS
  if (phase === 'timed_out' || (phase === 'paid' && isLate)) {
    return 'Transaction has an invalid finished state: aborted'
  }
  const status = { open: 0, aborted: 10, broken: 10, bank_aborted: 19, paid: null, committed: null }[phase]
  if (status === null) return null
  return `Invalid status '${status}' for transaction while authorizing. Commerce will be notified by webpay to authorize`
}

export function readTransactionStatus(call: ApiCall): Action | Reply {
  const found = findTransaction(call)
  if (!('token' in found)) return found
  const run = () => {
    const ageMs = call.transbank.world.now().getTime() - found.createdAtMs
    return ageMs > STATUS_WINDOW_MS
      ? refuseTransbank('The transactions date has passed max time (7 days) to recover the status')
      : replyJson(200, viewTransaction(found))
  }
  return { operation: 'read', reference: found.order, run }
}

/** Before the commit Transbank tells next to nothing: a status INITIALIZED says nothing of how it ended. */
function viewTransaction(transaction: WebpayTransaction): Record<string, unknown> {
  const { isMall, order, sessionId, sales, phase, card } = transaction
  const isCommitted = phase === 'committed'
  const at = new Date(isCommitted ? sales[0]!.authorizedAtMs : transaction.createdAtMs).toISOString()
  const [only] = sales.map(viewSale)
  const shops = sales.map((sale) => ({ ...viewSale(sale), commerce_code: sale.shop, buy_order: sale.order }))
  return {
    ...(isCommitted && { vci: 'TSY' }),
    ...(phase === 'bank_aborted' && { vci: 'ABO', response_code: 0 }),
    ...(isMall ? { details: shops } : only),
    buy_order: order,
    session_id: sessionId,
    ...(isCommitted && card && { card_detail: { card_number: card.number.slice(-4) } }),
    accounting_date: at.slice(5, 7) + at.slice(8, 10),
    transaction_date: at,
  }
}

export function refundTransaction(call: ApiCall): Action | Reply {
  const found = findTransaction(call)
  if (!('token' in found)) return found
  const { transbank, account, body } = call
  const rules: FieldRules = {
    amount: { kind: 'amount' },
    ...(found.isMall && { buy_order: orderRule, commerce_code: shopRule }),
  }
  const fault = findFieldFault(body, rules, account)
  if (fault) return fault
  const sale = findSale(found, body)
  const run = () => {
    if (found.phase !== 'committed') {
      return refuseTransbank('Transaction is unfinished, it is not possible to refund it yet')
    }
    if (!sale) return refuseTransbank('Invalid value for parameter: Transaction Detail not found')
    return refundSale(transbank, sale, amountIn(body, 'amount', account))
  }
  return { operation: sale && isHeld(sale) ? 'cancel' : 'refund', reference: found.order, run }
}

/** The shop’s part that is meant; of a plain transaction, the only one. */
function findSale({ isMall, sales }: WebpayTransaction, body: Body): Sale | undefined {
  if (!isMall) return sales[0]
  const [shop, order] = [textIn(body, 'commerce_code'), textIn(body, 'buy_order')]
  return sales.find((sale) => sale.shop === shop && sale.order === order)
}

export function captureTransaction(call: ApiCall): Action | Reply {
  const found = findTransaction(call)
  if (!('token' in found)) return found
  const { transbank, account, body } = call
  const rules: FieldRules = {
    buy_order: orderRule,
    authorization_code: { kind: 'text', longest: 6 },
    capture_amount: { kind: 'amount' },
    ...(found.isMall && { commerce_code: shopRule }),
  }
  const fault = findFieldFault(body, rules, account)
  if (fault) return fault
  const sale = findSale(found, body)
  const run = () => {
    const isMeant =
      sale?.order === textIn(body, 'buy_order') &&
      sale.authorizationCode === textIn(body, 'authorization_code')
    return isMeant && found.phase === 'committed'
      ? captureSale(transbank, sale, amountIn(body, 'capture_amount', account), { token: found.token })
      : refuseTransbank('Transaction not found')
  }
  return { operation: 'capture', reference: found.order, run }
}
