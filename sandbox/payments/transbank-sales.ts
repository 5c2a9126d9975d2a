import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { toMajor } from './amounts.ts'
import { writeLedger } from './ledger.ts'
import type { LedgerEntry } from './ledger.ts'
import { createAuthorizationCode } from './transbank-account.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'
import { paymentTypeOf } from './transbank-cards.ts'
import type { TestCard } from './transbank-cards.ts'
import { refuseAfterSale } from './transbank-rules.ts'

/** What one shop is paid: all of a Webpay Plus transaction, one detail of a Mall. Amounts are minor units. */
export type Sale = {
  /** As the ledger has it. */
  id: string
  /** The caller’s order of the whole payment. */
  reference: string
  account: TransbankAccount
  shop: string
  order: string
  amount: number
  installments: number
  status:
    | 'INITIALIZED'
    | 'AUTHORIZED'
    | 'CAPTURED'
    | 'FAILED'
    | 'REVERSED'
    | 'NULLIFIED'
    | 'PARTIALLY_NULLIFIED'
  card: TestCard | null
  responseCode: number | null
  authorizationCode: string | null
  authorizedAtMs: number
  /** Null while only held. */
  captured: number | null
  refunded: number
}

type NewSale = Pick<Sale, 'id' | 'reference' | 'account' | 'shop' | 'order' | 'amount' | 'installments'>

export function addSale(transbank: Transbank, made: NewSale): Sale {
  const sale: Sale = {
    ...made,
    status: 'INITIALIZED',
    card: null,
    responseCode: null,
    authorizationCode: null,
    authorizedAtMs: 0,
    captured: null,
    refunded: 0,
  }
  const { id, reference, order, account } = sale
  for (const key of [id, reference, order, `${account.code} ${order}`]) transbank.sales.set(key, sale)
  return sale
}

/** Takes or holds the money, or not: a response code other than zero is a decline. */
export function authorizeSale(transbank: Transbank, sale: Sale, card: TestCard, responseCode: number): void {
  sale.card = card
  sale.responseCode = responseCode
  sale.authorizedAtMs = transbank.world.now().getTime()
  sale.status = responseCode === 0 ? 'AUTHORIZED' : 'FAILED'
  if (responseCode !== 0) return
  sale.authorizationCode = createAuthorizationCode()
  sale.captured = sale.account.isDeferred ? null : sale.amount
  write(transbank, sale, sale.account.isDeferred ? 'authorization' : 'charge', sale.amount)
}

function write(transbank: Transbank, sale: Sale, kind: LedgerEntry['kind'], amount: number): void {
  const { id: payment, reference, account } = sale
  writeLedger(transbank.world, {
    provider: 'transbank',
    account: account.code,
    kind,
    payment,
    reference,
    amount,
    currency: account.currency,
  })
}

const HOUR_MS = 3_600_000
const REVERSAL_WINDOW_MS = 3 * HOUR_MS
const CAPTURE_WINDOW_MS = 7 * 24 * HOUR_MS
const REFUND_WINDOW_MS = 90 * 24 * HOUR_MS

/** The whole within three hours, or of what is only held, is reversed; anything else is nullified. */
export function refundSale(transbank: Transbank, sale: Sale, amount: number): Reply {
  const { account } = sale
  if (sale.status === 'FAILED') return refuseAfterSale(account, 292)
  if (sale.status === 'REVERSED' || sale.status === 'NULLIFIED') return refuseAfterSale(account, 310)
  const ageMs = transbank.world.now().getTime() - sale.authorizedAtMs
  if (ageMs > REFUND_WINDOW_MS) return refuseAfterSale(account, 284)
  if (amount > balanceOf(sale)) return refuseAfterSale(account, 311)
  const isWhole = sale.refunded === 0 && amount === balanceOf(sale)
  if (sale.captured === null && !isWhole) return refuseAfterSale(account, 308)
  if (isWhole && (sale.captured === null || ageMs <= REVERSAL_WINDOW_MS)) {
    write(transbank, sale, sale.captured === null ? 'void' : 'refund', amount)
    sale.refunded = amount
    sale.status = 'REVERSED'
    return replyJson(200, { type: 'REVERSED' })
  }
  if (!isWhole && sale.card?.kind !== 'credit') return refuseAfterSale(account, 308)
  if (!isWhole && sale.installments > 1) return refuseAfterSale(account, 53)
  return nullify(transbank, sale, amount)
}

function nullify(transbank: Transbank, sale: Sale, amount: number): Reply {
  write(transbank, sale, 'refund', amount)
  sale.refunded += amount
  sale.status = balanceOf(sale) === 0 ? 'NULLIFIED' : 'PARTIALLY_NULLIFIED'
  const { currency } = sale.account
  return replyJson(200, {
    type: 'NULLIFIED',
    authorization_code: createAuthorizationCode(),
    authorization_date: transbank.world.now().toISOString(),
    nullified_amount: toMajor(amount, currency),
    balance: toMajor(balanceOf(sale), currency),
    response_code: 0,
  })
}

/** Once, at most what is held, within seven days. `extra` goes into the answer. */
export function captureSale(
  transbank: Transbank,
  sale: Sale,
  amount: number,
  extra: Record<string, unknown>,
): Reply {
  const { account } = sale
  const now = transbank.world.now()
  if (!account.isDeferred) return refuseAfterSale(account, 16)
  if (sale.captured !== null) return refuseAfterSale(account, 309)
  if (sale.status === 'REVERSED') return refuseAfterSale(account, 310)
  if (sale.status !== 'AUTHORIZED') return refuseAfterSale(account, 292)
  if (now.getTime() - sale.authorizedAtMs > CAPTURE_WINDOW_MS) return refuseAfterSale(account, 284)
  if (amount > sale.amount) {
    return refuseAfterSale(account, 311, 'Invalid value for parameter: capture_amount')
  }
  write(transbank, sale, 'charge', amount)
  sale.captured = amount
  sale.status = 'CAPTURED'
  return replyJson(200, {
    ...extra,
    authorization_code: sale.authorizationCode,
    authorization_date: now.toISOString(),
    captured_amount: toMajor(amount, account.currency),
    response_code: 0,
  })
}

/** Authorized, and not captured yet. */
export function isHeld({ status, captured }: Sale): boolean {
  return status === 'AUTHORIZED' && captured === null
}

export function balanceOf(sale: Sale): number {
  return (sale.captured ?? sale.amount) - sale.refunded
}

/** What every answer says of a sale; after a capture the amount is what was captured. */
export function viewSale(sale: Sale): Record<string, unknown> {
  const { card, installments, refunded } = sale
  const { currency } = sale.account
  const amount = sale.captured ?? sale.amount
  return {
    amount: toMajor(amount, currency),
    status: sale.status,
    ...(sale.authorizationCode && { authorization_code: sale.authorizationCode }),
    ...(card && { payment_type_code: paymentTypeOf(card, installments) }),
    ...(sale.responseCode !== null && { response_code: sale.responseCode }),
    ...(installments > 1 && { installments_amount: toMajor(Math.ceil(amount / installments), currency) }),
    installments_number: installments,
    ...(refunded > 0 && sale.status !== 'REVERSED' && { balance: toMajor(balanceOf(sale), currency) }),
  }
}
