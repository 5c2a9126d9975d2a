import { z } from 'zod'
import { fieldsOf, optional, optionalFigure, optionalObject, optionalText } from '#connections'
import type { Outcome } from '#connections'
import type { FailureCode } from '../failures.ts'
import type { Failure, MethodSummary, PaymentRef, PaymentSnapshot, PaymentStatus } from './provider.ts'
import { refuseOther } from './same-payment.ts'
import { filled, noMoney, present } from './snapshot.ts'
import { type Context, type Credentials, title } from './transbank-account.ts'
import { readWireNumber } from './wire-amount.ts'
import { createFailureTable, type FailureRow } from './word-table.ts'

const sale = {
  ...fieldsOf(
    optionalText,
    'status',
    'authorization_code',
    'payment_type_code',
    'commerce_code',
    'buy_order',
  ),
  ...fieldsOf(optionalFigure, 'amount', 'captured_amount', 'balance', 'response_code', 'installments_number'),
}

/** Of Webpay Plus it is one sale, of a Mall and of Oneclick it holds the shops' sales. */
export const transactionAnswer = z
  .looseObject({
    ...sale,
    ...fieldsOf(optionalText, 'session_id', 'vci', 'transaction_date'),
    card_detail: optionalObject({ card_number: optionalText }),
    details: optional(z.array(z.looseObject(sale))),
  })
  .refine(({ status, details }) => Boolean(status) || details?.some((detail) => detail.status))
type Transaction = z.output<typeof transactionAnswer>

/** What Transbank knows the payment by, as long as it may be; undefined for what is no id of a payment. */
export function orderOf(paymentId: string): string | undefined {
  return /^pay_(\d[\da-z]{25})$/.exec(paymentId)?.[1]
}

/** The shop's own order in a Mall: another one, for ids begin with a digit. */
export function shopOrderOf(order: string): string {
  return `c${order.slice(1)}`
}

/** A checkout has a payment once the customer tried to pay; then both have the same id. */
export function idsOf(ref: PaymentRef, isTried = true) {
  if (ref.flow === 'direct') return { providerPaymentId: orderOf(ref.paymentId) }
  const token = ref.providerCheckoutId
  return { providerCheckoutId: token, ...(isTried && { providerPaymentId: token }) }
}

/**
 * What an answer says of a payment. It is believed only if it names the payment's shop, order, session and amount;
 * an answer that tells of no money may leave them out.
 */
export function readTransaction(
  answer: Transaction,
  ref: PaymentRef,
  context: Context,
): Outcome<{ snapshot: PaymentSnapshot }> {
  const { buy_order, session_id } = answer
  const shops = answer.details ?? []
  const [shop] = shops
  const transaction = { ...answer, ...shop, buy_order, balance: shop?.balance ?? answer.balance }
  const snapshot = writeSnapshot(transaction, ref, context)
  const isMoney = snapshot.status === 'authorized' || snapshot.status === 'confirmed'
  const order = orderOf(ref.paymentId) ?? ''
  const amount = readWireNumber(transaction.amount, ref.currency)
  // After a part was captured, that may stand there as the amount.
  const isLater = ref.capture === 'manual' && isMoney && transaction.status !== 'AUTHORIZED'
  const isPart = isLater && amount && amount < ref.amount
  const other = refuseOther(
    title,
    [
      ['shop order', shops.map((one) => one.buy_order).join(), shop && shopOrderOf(order)],
      ['buy_order', buy_order, order],
      ['session_id', session_id, ref.flow === 'checkout' ? ref.paymentId : undefined],
      ['amount', amount, isPart ? undefined : ref.amount],
    ],
    !isMoney,
  )
  return other ?? { outcome: 'done', snapshot }
}

function writeSnapshot(transaction: Transaction, ref: PaymentRef, context: Context): PaymentSnapshot {
  const { authorization_code, payment_type_code, transaction_date, commerce_code } = transaction
  const state = readState(transaction, ref, context)
  return present<PaymentSnapshot>({
    ...idsOf(ref, state.status !== 'requires_action' && state.status !== 'expired'),
    amount: ref.amount,
    currency: ref.currency,
    ...state,
    method: readMethod(transaction),
    details: filled({ authorization_code, payment_type_code, transaction_date, commerce_code }),
  })
}

type State = Pick<PaymentSnapshot, 'status' | 'captured' | 'refunded' | 'failure' | 'expiresAt'>

/** Approved is `AUTHORIZED` with `response_code` 0; a word of money taken before needs no code. */
function readState(transaction: Transaction, ref: PaymentRef, context: Context): State {
  const { status, response_code: code, vci, authorization_code } = transaction
  if (takenWords.includes(status ?? '')) return readTaken(transaction, ref)
  if (status !== 'INITIALIZED' && status !== 'AUTHORIZED' && status !== 'FAILED') return unknownState
  // The bank's page was left: nothing was paid, although the code may say 0.
  if (vci === 'ABO' && !authorization_code) return endUnpaid('failed', 'authentication_failed', vci)
  if (code || status === 'FAILED') {
    return { ...noMoney, status: 'failed', failure: describeDecline(code || status, context.credentials) }
  }
  if (status === 'INITIALIZED') return readOpen(ref, context)
  return code === 0 ? readApproved(transaction, ref, context) : unknownState
}

const unknownState: State = { ...noMoney, status: 'unknown' }
const minuteMs = 60_000

/** An end without money, after which the customer may try again. */
export function endUnpaid(status: PaymentStatus, code: FailureCode, providerCode: string): State {
  return { ...noMoney, status, failure: { code, providerCode, retry: 'same' } }
}

export function formEndOf(createdAt: Date, account: Credentials): Date {
  return new Date(createdAt.getTime() + account.formTimeoutMinutes * minuteMs)
}

/** After the form comes the bank's own page. */
const bankPageMs = 5 * minuteMs

/** A form that nobody finished in time can't be paid any more; its status never says so. */
function readOpen(ref: PaymentRef, { credentials: account, now }: Context): State {
  const expiresAt = formEndOf(ref.createdAt, account)
  const isOver = now().getTime() > expiresAt.getTime() + bankPageMs
  if (isOver) return endUnpaid('expired', 'timed_out', 'INITIALIZED')
  return { ...noMoney, status: 'requires_action', expiresAt }
}

function readApproved({ transaction_date: date }: Transaction, ref: PaymentRef, context: Context): State {
  if (ref.capture === 'automatic') return { status: 'confirmed', captured: ref.amount, refunded: 0 }
  const heldFrom = Date.parse(date ?? '') || ref.createdAt.getTime()
  const expiresAt = new Date(heldFrom + context.credentials.captureWindowDays * 24 * 60 * minuteMs)
  return { ...noMoney, status: 'authorized', expiresAt }
}

const takenWords = ['CAPTURED', 'REVERSED', 'NULLIFIED', 'PARTIALLY_NULLIFIED']

/** What was only held is canceled once all of it went back. */
function readTaken(transaction: Transaction, ref: PaymentRef): State {
  const { status } = transaction
  const isAllBack = status === 'REVERSED' || status === 'NULLIFIED'
  if (isAllBack && ref.capture === 'manual' && ref.captured === 0) return { ...noMoney, status: 'canceled' }
  const left = readWireNumber(transaction.balance, ref.currency)
  // What could still be given back of a capture is what was captured.
  const captured = sumCaptured(transaction, ref, (status === 'CAPTURED' && left) || ref.amount)
  if (status === 'CAPTURED') return { status: 'confirmed', captured, refunded: 0 }
  const partBack = left === undefined ? ref.refunded : Math.max(0, captured - left)
  return { status: 'confirmed', captured, refunded: isAllBack ? captured : partBack }
}

/** Of a held payment as told, else as we know, else as it seems. */
function sumCaptured(transaction: Transaction, ref: PaymentRef, seeming: number): number {
  if (ref.capture === 'automatic') return ref.amount
  const told = readWireNumber(transaction.captured_amount, ref.currency) ?? (ref.captured || seeming)
  return Math.min(told, readWireNumber(transaction.amount, ref.currency) ?? ref.amount)
}

function readMethod(transaction: Transaction): MethodSummary | undefined {
  const { payment_type_code: code, card_detail: card, installments_number: installments } = transaction
  const method = describeCard(code, card?.card_number)
  if (!code && !method.last4) return undefined
  return installments ? { ...method, installments } : method
}

/** `kind` is a `payment_type_code`, or the name of a kind of card. */
export function describeCard(kind: string | null | undefined, cardNumber: string | null | undefined) {
  const word = kind ?? ''
  const type = /^VD$|redcompra|debit/i.test(word) ? 'debit' : /^VP$|prepa/i.test(word) ? 'prepaid' : 'card'
  return present<MethodSummary>({ type, last4: /\d{4}$/.exec(cardNumber ?? '')?.[0] })
}

/** Why a `response_code` refuses: the same number means different things per level. */
export function describeDecline(
  code: number | string,
  account: Pick<Credentials, 'responseCodeLevel'>,
): Failure {
  return declines[account.responseCodeLevel](code)
}

/** -96: the saved card is not known. Limits of a day pass by themselves. */
const oneclickDeclines: readonly FailureRow[] = [
  ['method_unavailable', 'other_method', '-96'],
  ['limit_exceeded', 'same', '-97'],
  ['limit_exceeded', 'other_method', '-98'],
  ['too_many_attempts', 'same', '-99'],
]

const declines = {
  1: createFailureTable([
    ...oneclickDeclines,
    ['invalid_data', 'same', '-1'],
    ['card_declined', 'other_method', '-2 -4'],
    ['processing_error', 'same', '-3'],
    ['fraud_suspected', 'never', '-5'],
  ]),
  2: createFailureTable([
    ...oneclickDeclines,
    ['invalid_card', 'other_method', '-1'],
    ['processing_error', 'same', '-2 -10'],
    ['limit_exceeded', 'other_method', '-3'],
    ['invalid_expiry', 'other_method', '-4'],
    ['authentication_failed', 'same', '-5'],
    ['card_declined', 'other_method', '-6'],
    ['card_disabled', 'other_method', '-7 -9'],
    ['expired_card', 'other_method', '-8'],
    ['too_many_attempts', 'other_method', '-11'],
  ]),
}
