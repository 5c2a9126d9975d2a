import { z } from 'zod'
import { callProvider, createErrorTable, describeError, isUncertain, optional } from '#connections'
import { optionalText, readJson, refusedOutcome, unknownOutcome } from '#connections'
import type { ErrorKind, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import type { FailureCode } from '../failures.ts'
import type { Failure } from './provider.ts'

export const title = 'Stripe'

/** The one whose shapes are read and written here. */
const version = '2026-10-28.endive'
const maxAnswerBytes = 16 * 1024 * 1024
const pageLength = 100
const mostPages = 10

/** What every call needs of the credentials. */
export interface StripeKeys {
  secretKey: string
  account?: string | undefined
}
export type StripeContext = ProviderContext<StripeKeys>

export type FormValue =
  | string
  | number
  | boolean
  | undefined
  | readonly FormValue[]
  | { readonly [name: string]: FormValue }
export type Form = { readonly [name: string]: FormValue }

export interface StripeCall<Answer> {
  /** Below `/v1`; ids among them come from outside and are checked. */
  path: readonly string[]
  form?: Form
  /** Idempotency key: with one it is a POST. */
  key?: string
  isDelete?: boolean
  read: (answer: ProviderAnswer) => Answer | undefined
  /** What a 402 tells of the thing that the card was declined for: no refusal then, but an answer. */
  readDeclined?: (error: StripeError) => Answer | undefined
}

/** Of an error, and of what a payment keeps of its last one. */
export const reasonAnswer = z.looseObject({
  type: optionalText,
  code: optionalText,
  decline_code: optionalText,
  advice_code: optionalText,
})
const errorBody = z.looseObject({
  error: reasonAnswer.extend({
    param: optionalText,
    message: optionalText,
    payment_intent: optional(z.unknown()),
    setup_intent: optional(z.unknown()),
  }),
})
export type StripeError = z.output<typeof errorBody>['error']

export async function callStripe<Answer>(
  context: StripeContext,
  { path, form = {}, key, isDelete = false, read, readDeclined }: StripeCall<Answer>,
): Promise<Outcome<{ answer: Answer }>> {
  const odd = path.find((part) => !/^\w{1,255}$/.test(part))
  if (odd !== undefined) return refuse('content', `${JSON.stringify(odd.slice(0, 80))} is no id of ${title}.`)
  const { secretKey, account } = context.credentials
  const isPost = key !== undefined
  const encoded = writeForm(form)
  let declined: Answer | undefined
  const outcome = await callProvider(
    context,
    {
      title,
      method: isDelete ? 'DELETE' : isPost ? 'POST' : 'GET',
      path: `/v1/${path.join('/')}${isPost || encoded === '' ? '' : `?${encoded}`}`,
      headers: {
        authorization: `Bearer ${secretKey}`,
        'stripe-version': version,
        ...(account && { 'stripe-account': account }),
        ...(isPost && { 'content-type': 'application/x-www-form-urlencoded', 'idempotency-key': key }),
      },
      ...(isPost && { body: encoded }),
      read,
      // A second DELETE finds what the first one left.
      repeatable: true,
      maxAnswerBytes,
    },
    (answer) => {
      const error = readJson(errorBody)(answer)?.error
      if (answer.status === 402 && error) declined = readDeclined?.(error)
      return classify(answer, error)
    },
  )
  return declined === undefined ? outcome : { outcome: 'done', answer: declined }
}

/** `a[b][0]=c`, as Stripe reads it; what is undefined is left out. */
function writeForm(form: Form): string {
  return Object.entries(form)
    .flatMap(([name, value]) => listPairs(name, value))
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&')
}

function listPairs(name: string, value: FormValue): Array<[name: string, value: string]> {
  if (value === undefined) return []
  if (typeof value !== 'object') return [[name, String(value)]]
  return Object.entries(value).flatMap(([part, item]) => listPairs(`${name}[${part}]`, item))
}

export function refuse(kind: ErrorKind, message: string): NotDone {
  return { outcome: 'refused', error: describeError([kind, 'never', false], { message }) }
}

/** A page that can't be closed was paid or has ended in the meantime; Stripe has no code for that. */
export function stateIfClosed(outcome: NotDone): NotDone {
  const isClosed = outcome.outcome === 'refused' && outcome.error.httpStatus === 400
  return isClosed ? { ...outcome, error: { ...outcome.error, kind: 'state' } } : outcome
}

export interface Listing<Item> {
  path: readonly string[]
  form?: Form
  item: z.ZodType<Item>
  /** Further pages are not asked for once one fits. */
  until?: (item: Item) => boolean
}

/** Newest first. `isWhole`: nothing was left out for length. */
export async function listStripe<Item extends { id: string }>(
  context: StripeContext,
  { path, form = {}, item, until }: Listing<Item>,
): Promise<Outcome<{ items: Item[]; isWhole: boolean }>> {
  const items: Item[] = []
  for (let pages = 1; ; pages += 1) {
    const outcome = await readListPage(context, {
      path,
      form: { ...form, starting_after: items.at(-1)?.id },
      item,
    })
    if (outcome.outcome !== 'done') return outcome
    items.push(...outcome.items)
    const isEnough = !outcome.hasMore || (until && outcome.items.some(until))
    if (isEnough || pages === mostPages) return { outcome: 'done', items, isWhole: isEnough === true }
  }
}

/** At most a hundred. */
export async function readListPage<Item>(
  context: StripeContext,
  { path, form, item }: Listing<Item>,
): Promise<Outcome<{ items: Item[]; hasMore: boolean }>> {
  const read = readJson(listOf(item))
  const outcome = await callStripe(context, { path, form: { ...form, limit: pageLength }, read })
  if (outcome.outcome !== 'done') return outcome
  const { data, has_more: hasMore } = outcome.answer
  return { outcome: 'done', items: data, hasMore: hasMore === true && data.length > 0 }
}

export function listOf<Item>(item: z.ZodType<Item>) {
  return z.looseObject({ data: z.array(item), has_more: optional(z.boolean()) })
}

/** The same key again answers the same, a 500 as well: `stripe-should-retry` tells when that is of no use. */
function classify(answer: ProviderAnswer, error: StripeError | undefined): NotDone {
  const { type, code, decline_code: declineCode, param, message } = error ?? {}
  const told = { code: declineCode ?? code ?? type, message }
  const isUseless = answer.headers['stripe-should-retry'] === 'false'
  if (isUncertain(answer.status)) return unknownOutcome(answer, told, isUseless ? 'never' : 'backoff')
  // The key was used before, or is in use: what was done under it may have had its effect.
  if (code === 'idempotency_key_in_use') return unknownOutcome(answer, told, { afterMs: 1_000 })
  if (type === 'idempotency_error') return unknownOutcome(answer, told)
  const rule = errors.get(code ?? `without code: ${param}`) ?? errors.get(String(answer.status))
  return refusedOutcome(answer, rule, told)
}

const errors = createErrorTable([
  ['auth', 'never', false, ['api_key_expired', 'platform_api_key_expired', 'secret_key_required']],
  ['auth', 'never', false, ['account_invalid', 'platform_account_required', 'livemode_mismatch']],
  ['account', 'never', true, ['testmode_charges_only', 'country_unsupported', 'capability_not_active']],
  ['account', 'never', false, ['balance_insufficient']],
  ['unknown', 'never', false, ['402']],
  ['transient', { afterMs: 1_000 }, false, ['lock_timeout', '409']],
  ['rate_limited', 'backoff', true, ['rate_limit']],
  ['content', 'never', true, ['amount_too_small', 'amount_too_large']],
  ['state', 'never', false, ['payment_intent_unexpected_state', 'setup_intent_unexpected_state']],
  ['state', 'never', false, ['intent_invalid_state', 'status_transition_invalid']],
  ['state', 'never', false, ['charge_already_captured', 'charge_expired_for_capture']],
  ['state', 'never', false, ['capture_charge_authorization_expired', 'capture_unauthorized_payment']],
  ['state', 'never', false, ['charge_already_refunded', 'charge_disputed', 'refund_disputed_payment']],
  ['state', 'never', false, ['charge_not_refundable', 'invalid_canceled_subscription_fields']],
  // More than there is to capture or to give back: something was done elsewhere.
  ['state', 'never', false, ['without code: amount', 'without code: amount_to_capture']],
])

/** Why a card or another method was not charged. */
export function readFailure(reason: z.output<typeof reasonAnswer> | null | undefined): Failure {
  const { type, code, decline_code: declineCode, advice_code: advice } = reason ?? {}
  const named = declines.get(declineCode ?? '') ?? declines.get(code ?? '')
  const [failure = type === 'card_error' ? 'card_declined' : 'unknown_reason', retry = 'other_method'] =
    named ?? []
  return {
    code: failure,
    providerCode: declineCode ?? code ?? type ?? 'unknown',
    retry: advices.get(advice ?? '') ?? retry,
  }
}

/** What the card's network advises is newer than any table. */
const advices = new Map<string, Failure['retry']>([
  ['do_not_try_again', 'other_method'],
  ['try_again_later', 'same'],
])

type DeclineRow = readonly [FailureCode, Failure['retry'], codes: string]

/** `decline_code` first, else the `code` of the error. */
const declineRows: readonly DeclineRow[] = [
  ['insufficient_funds', 'same', 'insufficient_funds'],
  ['card_declined', 'other_method', 'card_declined generic_decline do_not_honor do_not_try_again'],
  ['card_declined', 'other_method', 'no_action_taken security_violation stop_payment_order'],
  ['card_declined', 'other_method', 'revocation_of_authorization revocation_of_all_authorizations'],
  ['card_declined', 'other_method', 'testmode_decline'],
  ['card_declined', 'same', 'try_again_later'],
  ['call_issuer', 'same', 'call_issuer approve_with_id'],
  ['expired_card', 'other_method', 'expired_card'],
  ['invalid_card', 'other_method', 'incorrect_number invalid_number'],
  ['invalid_expiry', 'other_method', 'invalid_expiry_month invalid_expiry_year'],
  ['invalid_security_code', 'other_method', 'incorrect_cvc invalid_cvc'],
  ['invalid_data', 'other_method', 'incorrect_zip incorrect_address incorrect_pin invalid_pin'],
  ['card_disabled', 'other_method', 'card_not_supported currency_not_supported invalid_account'],
  ['card_disabled', 'other_method', 'new_account_information_available service_not_allowed'],
  ['card_disabled', 'other_method', 'transaction_not_allowed not_permitted'],
  ['lost_or_stolen', 'other_method', 'lost_card stolen_card pickup_card restricted_card'],
  ['authentication_failed', 'same', 'payment_intent_authentication_failure'],
  ['authentication_failed', 'same', 'setup_intent_authentication_failure'],
  ['authentication_required', 'same', 'authentication_required authentication_not_handled'],
  ['authentication_required', 'same', 'mobile_device_authentication_required offline_pin_required'],
  ['authentication_required', 'same', 'online_or_offline_pin_required payment_intent_action_required'],
  ['fraud_suspected', 'other_method', 'fraudulent merchant_blacklist'],
  ['limit_exceeded', 'other_method', 'card_velocity_exceeded withdrawal_count_limit_exceeded'],
  ['limit_exceeded', 'other_method', 'invalid_amount'],
  ['too_many_attempts', 'other_method', 'pin_try_exceeded card_decline_rate_limit_exceeded'],
  ['duplicate', 'never', 'duplicate_transaction'],
  ['method_unavailable', 'other_method', 'payment_method_unactivated payment_method_not_available'],
  ['method_unavailable', 'other_method', 'payment_intent_mandate_invalid expired_payment_method'],
  ['canceled_by_customer', 'same', 'payment_method_customer_decline'],
  ['timed_out', 'same', 'payment_intent_payment_attempt_expired setup_intent_setup_attempt_expired'],
  ['processing_error', 'same', 'processing_error issuer_not_available reenter_transaction'],
  ['processing_error', 'same', 'payment_method_provider_timeout'],
  ['processing_error', 'same', 'three_d_secure_authentication_upstream_error'],
]

const declines = new Map(
  declineRows.flatMap(([failure, retry, codes]) =>
    codes.split(' ').map((code) => [code, [failure, retry] as const] as const),
  ),
)
