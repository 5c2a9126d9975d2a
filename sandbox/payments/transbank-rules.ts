import { isObject, readJsonObject, replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { toMinor } from './amounts.ts'
import type { PaymentFault, PaymentOperation } from './payment-faults.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'

export type Body = Record<string, unknown>

export type ApiCall = {
  transbank: Transbank
  account: TransbankAccount
  /** Of the path. */
  id: string
  body: Body
}

/** An API call, read and matched with what it is about; nothing happened yet. */
export type Action = {
  operation: PaymentOperation
  reference: string | null
  run(): Reply
  /** Undoes what had to be done before a fault could play. */
  release?(): void
}

export function transbankError(status: number, message: string): Reply {
  return replyJson(status, { error_message: message })
}

/** 422: the request or the transaction is not as it should be. */
export function refuseTransbank(message: string): Reply {
  return transbankError(422, message)
}

/** Faults that are told in Transbank’s own words. */
export function refuseByFault(fault: PaymentFault): Reply | null {
  if (fault.name === 'unauthorized') return transbankError(401, 'Not Authorized')
  if (fault.name === 'transient') return transbankError(500, 'Internal Server Error')
  if (fault.name !== 'rate_limited') return null
  const headers = { 'retry-after': String(fault.retryAfterSeconds) }
  return replyJson(429, { error_message: 'Too Many Requests' }, headers)
}

/** Of 311 the text is known from Transbank’s own tests; the others are told with their number. */
const afterSaleTexts = {
  16: 'Transaction does not allow this operation (16)',
  53: 'Partial refund is not allowed with installments (53)',
  284: 'The time for this operation is over (284)',
  292: 'Transaction is not authorized (292)',
  308: 'Operation not allowed (308)',
  309: 'Transaction already captured (309)',
  310: 'Transaction already refunded or reversed (310)',
  311: 'Amount to refund is bigger than authorized',
}

/** A refund or a capture that can't be: in which of the two forms is the account’s. */
export function refuseAfterSale(
  account: TransbankAccount,
  code: keyof typeof afterSaleTexts,
  text = afterSaleTexts[code],
): Reply {
  if (account.refusals === 'response_code') return replyJson(200, { response_code: code })
  return refuseTransbank(text)
}

/** What a field may be. Amounts and numbers come as JSON numbers only. */
type FieldRule = {
  kind: 'text' | 'amount' | 'number' | 'order' | 'url' | 'list'
  longest?: number
  isOptional?: boolean
}

export type FieldRules = Readonly<Record<string, FieldRule>>

export const orderRule: FieldRule = { kind: 'order', longest: 26 }
export const shopRule: FieldRule = { kind: 'text', longest: 12 }

/** The JSON of a call, or the answer to what is none. */
export function readTransbankBody(call: Call): { body: Body } | { error: Reply } {
  if (call.method === 'GET' || call.body.length === 0) return { body: {} }
  if (!(call.headers['content-type'] ?? '').startsWith('application/json')) {
    return { error: transbankError(415, 'Unsupported Media Type') }
  }
  const body = readJsonObject(call)
  return body ? { body } : { error: transbankError(400, 'Invalid JSON') }
}

/** The first fault of the fields, in Transbank’s words; null when there is none. */
export function findFieldFault(body: Body, rules: FieldRules, account: TransbankAccount): Reply | null {
  const unknown = Object.keys(body).find((name) => !Object.hasOwn(rules, name))
  if (unknown !== undefined) return transbankError(400, `Unrecognized field: ${unknown}`)
  for (const [name, rule] of Object.entries(rules)) {
    const value = body[name]
    const isMissing = value === undefined || value === null || value === ''
    if (isMissing && !rule.isOptional) return refuseTransbank(`${name} is required!`)
    if (!isMissing && !fits(value, rule, account))
      return refuseTransbank(`Invalid value for parameter: ${name}`)
  }
  return null
}

function fits(value: unknown, rule: FieldRule, account: TransbankAccount): boolean {
  if (rule.kind === 'list') return Array.isArray(value) && value.length > 0 && value.every(isObject)
  if (rule.kind === 'number') return Number.isInteger(value)
  if (rule.kind === 'amount') return typeof value === 'number' && isAmount(value, account.currency)
  if (typeof value !== 'string' || value.length > (rule.longest ?? 255)) return false
  if (rule.kind === 'url') return /^https?:\/\/[^\s/]/i.test(value)
  return rule.kind === 'text' || /^[\w|=&%.,~:/?[+!@()>-]+$/.test(value)
}

/** CLP has no decimals, USD two. */
function isAmount(value: number, currency: string): boolean {
  if (!Number.isFinite(value) || value <= 0) return false
  const decimals = currency === 'CLP' ? 0 : 2
  return Number(value.toFixed(decimals)) === value
}

const detailRules: FieldRules = {
  amount: { kind: 'amount' },
  commerce_code: shopRule,
  buy_order: orderRule,
  installments_number: { kind: 'number', isOptional: true },
}

/** The first fault of the details: their fields, and shops that are not of this Mall. */
export function findDetailFault(body: Body, account: TransbankAccount): Reply | null {
  for (const detail of detailsOf(body)) {
    const fault = findFieldFault(detail, detailRules, account)
    if (fault) return fault
    const isOurs = account.shops?.includes(textIn(detail, 'commerce_code')) ?? true
    if (!isOurs) return refuseTransbank('Invalid value for parameter: commerce_code')
  }
  return null
}

/** The objects of `details`, once `findFieldFault` has passed them. */
export function detailsOf({ details }: Body): Body[] {
  return Array.isArray(details) ? details.filter(isObject) : []
}

/** Of fields that `findFieldFault` has passed. */
export function textIn(body: Body, name: string): string {
  const value = body[name]
  return typeof value === 'string' ? value : ''
}

export function amountIn(body: Body, name: string, account: TransbankAccount): number {
  const value = body[name]
  return typeof value === 'number' ? toMinor(value, account.currency) : 0
}

/** One is none; and what is no number, too. */
export function installmentsIn(body: Body): number {
  const { installments_number: value } = body
  return typeof value === 'number' && value > 1 ? value : 0
}
