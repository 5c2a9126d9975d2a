import { z } from 'zod'
import { optional, optionalObject, optionalText } from '#connections'
import type { FailureCode } from '../failures.ts'
import { fromWireNumber } from '../money.ts'
import type { Failure, MethodSummary, PaymentRef, PaymentSnapshot } from './provider.ts'
import type { Credentials } from './transbank-account.ts'

/** Some answers write numbers as texts. */
export const figure = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+(\.\d+)?$/)
    .transform(Number),
])
export const optionalFigure = optional(figure)

const sale = {
  status: optionalText,
  amount: optionalFigure,
  captured_amount: optionalFigure,
  balance: optionalFigure,
  response_code: optionalFigure,
  authorization_code: optionalText,
  payment_type_code: optionalText,
  installments_number: optionalFigure,
  commerce_code: optionalText,
}

/** Of Webpay Plus it is one sale, of a Mall and of Oneclick it holds the shops' sales. */
export const transactionAnswer = z
  .looseObject({
    ...sale,
    buy_order: optionalText,
    session_id: optionalText,
    vci: optionalText,
    card_detail: optionalObject({ card_number: optionalText }),
    transaction_date: optionalText,
    details: optional(z.array(z.looseObject({ ...sale, buy_order: optionalText }))),
  })
  .refine(({ status, details }) => Boolean(status) || details?.some((detail) => detail.status))
export type TransactionAnswer = z.output<typeof transactionAnswer>

const idPattern = /^pay_(\d[\da-z]{25})$/

/** What Transbank knows the payment by, as long as it may be; undefined for what is no id of a payment. */
export function orderOf(paymentId: string): string | undefined {
  return idPattern.exec(paymentId)?.[1]
}

/** The shop's own order in a Mall: another one, for ids begin with a digit. */
export function shopOrderOf(order: string): string {
  return `c${order.slice(1)}`
}

interface Reading {
  snapshot?: PaymentSnapshot
  /** Why the answer can't be about this payment. */
  problem?: string
}

/**
 * What an answer says of a payment. It is believed only if it names the payment's order, session and amount;
 * an answer that tells of no money may leave them out.
 */
export function readTransaction(
  answer: TransactionAnswer,
  ref: PaymentRef,
  account: Credentials,
  now: Date,
): Reading {
  const shops = answer.details ?? []
  const order = orderOf(ref.paymentId) ?? ''
  const isOurShop = shops.length === 1 && shops[0]?.buy_order === shopOrderOf(order)
  if (shops.length > 0 && !isOurShop) return { problem: 'its shops are not the one that was to be paid' }
  const balance = shops[0]?.balance ?? answer.balance
  const transaction = { ...answer, ...shops[0], buy_order: answer.buy_order, balance }
  const snapshot = writeSnapshot(transaction, ref, account, now)
  const isMoney = snapshot.status === 'authorized' || snapshot.status === 'confirmed'
  const problem = findMismatch(transaction, ref, order, isMoney)
  return problem === undefined ? { snapshot } : { problem }
}

function findMismatch(
  { buy_order, session_id, amount, status }: TransactionAnswer,
  ref: PaymentRef,
  order: string,
  isMoney: boolean,
): string | undefined {
  const differs = (found: unknown, asked: unknown) => (found ?? (isMoney ? undefined : asked)) !== asked
  if (differs(buy_order, order)) return `its buy_order is ${buy_order}, not ${order}`
  if (ref.flow === 'checkout' && differs(session_id, ref.paymentId)) {
    return `its session_id is ${session_id}, not ${ref.paymentId}`
  }
  const found = readAmount(amount, ref)
  // After a part was captured, that may stand there as the amount.
  const isPart = ref.capture === 'manual' && isMoney && status !== 'AUTHORIZED' && found && found < ref.amount
  return !isPart && differs(found, ref.amount)
    ? `its amount is ${amount}, which was not asked for`
    : undefined
}

function writeSnapshot(
  transaction: TransactionAnswer,
  ref: PaymentRef,
  account: Credentials,
  now: Date,
): PaymentSnapshot {
  const state = readState(transaction, ref, account, now)
  const { transaction_date: date, authorization_code, payment_type_code, commerce_code } = transaction
  const named = { authorization_code, payment_type_code, transaction_date: date, commerce_code }
  const details = Object.fromEntries(
    Object.entries(named).filter((pair): pair is [string, string] => !!pair[1]),
  )
  const method = readMethod(transaction)
  return {
    ...idsOf(ref, state.status !== 'requires_action' && state.status !== 'expired'),
    amount: ref.amount,
    currency: ref.currency,
    ...state,
    ...(method && { method }),
    ...(Object.keys(details).length > 0 && { details }),
  }
}

/** A checkout has a payment once the customer tried to pay; then both have the same id. */
export function idsOf(
  ref: PaymentRef,
  isTried: boolean,
): Pick<PaymentSnapshot, 'providerPaymentId' | 'providerCheckoutId'> {
  if (ref.flow === 'direct') return { providerPaymentId: orderOf(ref.paymentId) }
  const token = ref.providerCheckoutId
  return { providerCheckoutId: token, ...(isTried && { providerPaymentId: token }) }
}

type State = Pick<PaymentSnapshot, 'status' | 'captured' | 'refunded' | 'failure' | 'expiresAt'>

const nothing = { captured: 0, refunded: 0 }
const failed = { ...nothing, status: 'failed' } as const
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

/** Approved is `AUTHORIZED` with `response_code` 0; a word of money taken before needs no code. */
function readState(transaction: TransactionAnswer, ref: PaymentRef, account: Credentials, now: Date): State {
  const { status, response_code: code, vci, authorization_code } = transaction
  const taken = takenStates.get(status ?? '')
  if (taken) return taken(transaction, ref)
  if (status !== 'INITIALIZED' && status !== 'AUTHORIZED' && status !== 'FAILED') {
    return { ...nothing, status: 'unknown' }
  }
  // The bank's page was left: nothing was paid, although the code may say 0.
  const isAborted = vci === 'ABO' && !authorization_code
  if (isAborted) return fail('authentication_failed', 'ABO', 'same')
  if (typeof code === 'number' && code !== 0) return { ...failed, failure: describeDecline(code, account) }
  if (status === 'FAILED') return fail('unknown_reason', status, 'other_method')
  if (status === 'INITIALIZED') return readOpen(ref, account, now)
  if (code !== 0) return { ...nothing, status: 'unknown' }
  if (ref.capture === 'automatic') return { status: 'confirmed', captured: ref.amount, refunded: 0 }
  const heldFrom = Date.parse(transaction.transaction_date ?? '') || ref.createdAt.getTime()
  const expiresAt = new Date(heldFrom + account.captureWindowDays * dayMs)
  return { ...nothing, status: 'authorized', expiresAt }
}

/** An end without money. */
export function fail(code: FailureCode, providerCode: string, retry: Failure['retry']): State {
  return { ...failed, failure: { code, providerCode, retry } }
}

export function formEndOf(createdAt: Date, account: Credentials): Date {
  return new Date(createdAt.getTime() + account.formTimeoutMinutes * minuteMs)
}

/** After the form comes the bank's own page. */
const bankPageMs = 5 * minuteMs

/** A form that nobody finished in time can't be paid any more; its status never says so. */
function readOpen(ref: PaymentRef, account: Credentials, now: Date): State {
  const expiresAt = formEndOf(ref.createdAt, account)
  const isOver = now.getTime() > expiresAt.getTime() + bankPageMs
  if (isOver) return { ...fail('timed_out', 'INITIALIZED', 'same'), status: 'expired' }
  return { ...nothing, status: 'requires_action', expiresAt }
}

const takenStates: ReadonlyMap<string, (transaction: TransactionAnswer, ref: PaymentRef) => State> = new Map([
  ['CAPTURED', readCaptured],
  ['REVERSED', readGivenBack],
  ['NULLIFIED', readGivenBack],
  ['PARTIALLY_NULLIFIED', readPartlyGivenBack],
])

/** What could still be given back of it is what was captured. */
function readCaptured(transaction: TransactionAnswer, ref: PaymentRef): State {
  const left = readAmount(transaction.balance, ref) || undefined
  return { status: 'confirmed', captured: sumCaptured(transaction, ref, left), refunded: 0 }
}

/** All of it went back; what was only held is canceled then. */
function readGivenBack(transaction: TransactionAnswer, ref: PaymentRef): State {
  if (ref.capture === 'manual' && ref.captured === 0) return { ...nothing, status: 'canceled' }
  const captured = sumCaptured(transaction, ref)
  return { status: 'confirmed', captured, refunded: captured }
}

function readPartlyGivenBack(transaction: TransactionAnswer, ref: PaymentRef): State {
  const captured = sumCaptured(transaction, ref)
  const left = readAmount(transaction.balance, ref)
  const refunded = left === undefined ? ref.refunded : Math.max(0, captured - left)
  return { status: 'confirmed', captured, refunded }
}

/** Of a held payment as told, else as we know, else as it seems. */
function sumCaptured(transaction: TransactionAnswer, ref: PaymentRef, seeming = ref.amount): number {
  if (ref.capture === 'automatic') return ref.amount
  const told = readAmount(transaction.captured_amount, ref) ?? (ref.captured || seeming)
  return Math.min(told, readAmount(transaction.amount, ref) ?? ref.amount)
}

export function readAmount(
  amount: number | null | undefined,
  { currency }: { currency: string },
): number | undefined {
  return amount === null || amount === undefined ? undefined : fromWireNumber(amount, currency)
}

function readMethod(transaction: TransactionAnswer): MethodSummary | undefined {
  const { payment_type_code: code, card_detail: card, installments_number: installments } = transaction
  const last4 = readLast4(card?.card_number)
  if (!code && !last4) return undefined
  return {
    type: code === 'VD' ? 'debit' : code === 'VP' ? 'prepaid' : 'card',
    ...(last4 && { last4 }),
    ...(installments && { installments }),
  }
}

export function readLast4(cardNumber: string | null | undefined): string | undefined {
  return /\d{4}$/.exec(cardNumber ?? '')?.[0]
}

type Decline = readonly [FailureCode, Failure['retry']]

/** Why a `response_code` refuses: the same number means different things per level. */
export function describeDecline(
  responseCode: number,
  { responseCodeLevel: level }: Pick<Credentials, 'responseCodeLevel'>,
): Failure {
  const [code, retry] = oneclickDeclines.get(responseCode) ??
    declines[level].get(responseCode) ?? ['unknown_reason', 'other_method']
  return { code, providerCode: String(responseCode), retry }
}

const declines: Record<Credentials['responseCodeLevel'], ReadonlyMap<number, Decline>> = {
  1: new Map<number, Decline>([
    [-1, ['invalid_data', 'same']],
    [-2, ['card_declined', 'other_method']],
    [-3, ['processing_error', 'same']],
    [-4, ['card_declined', 'other_method']],
    [-5, ['fraud_suspected', 'never']],
  ]),
  2: new Map<number, Decline>([
    [-1, ['invalid_card', 'other_method']],
    [-2, ['processing_error', 'same']],
    [-3, ['limit_exceeded', 'other_method']],
    [-4, ['invalid_expiry', 'other_method']],
    [-5, ['authentication_failed', 'same']],
    [-6, ['card_declined', 'other_method']],
    [-7, ['card_disabled', 'other_method']],
    [-8, ['expired_card', 'other_method']],
    [-9, ['card_disabled', 'other_method']],
    [-10, ['processing_error', 'same']],
    [-11, ['too_many_attempts', 'other_method']],
  ]),
}

/** -96: the saved card is not known. Limits of a day pass by themselves. */
const oneclickDeclines: ReadonlyMap<number, Decline> = new Map<number, Decline>([
  [-96, ['method_unavailable', 'other_method']],
  [-97, ['limit_exceeded', 'same']],
  [-98, ['limit_exceeded', 'other_method']],
  [-99, ['too_many_attempts', 'same']],
])
