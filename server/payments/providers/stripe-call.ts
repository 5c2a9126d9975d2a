import { z } from 'zod'
import { callProvider, countField, createErrorTable, fieldsOf, type Form, isUncertain } from '#connections'
import { mapDone, mapped, optionalText, readJson, refuse, refusedOutcome, secretField } from '#connections'
import { unknownOutcome, writeForm } from '#connections'
import type { AnswerSchema, NotDone, Outcome, ProviderAnswer, ProviderContext } from '#connections'
import { type ListPage, readPages } from './paging.ts'
import { findByReference } from './reference-search.ts'
import { listOf, namedAnswer, type Page, pageAnswer, reasonAnswer, title } from './stripe-mapping.ts'
import { toSeconds } from './stripe-mapping.ts'

export const credentials = z.strictObject({
  secretKey: secretField('Secret key, or a restricted key. Test keys move no money.').regex(
    /^(sk|rk)_(test|live)_\w+$/,
    'Begins with sk_test_, sk_live_, rk_test_ or rk_live_; what begins with pk_ is for browsers.',
  ),
  webhookSecret: webhookSecretField('Signing secret of the webhook. Needed to accept webhooks.').optional(),
  previousWebhookSecret: webhookSecretField(
    'Former signing secret: webhooks signed with it still pass.',
  ).optional(),
  account: z
    .string()
    .regex(/^acct_\w+$/, 'Begins with acct_.')
    .meta({ description: 'Connected account that is charged, where the key is that of a platform.' })
    .optional(),
  refundWindowDays: countField('For how many days payments can be refunded.', 3650, 365),
  captureWindowDays: countField('For how many days a held payment can be captured.', 90, 7),
})
export type Credentials = z.output<typeof credentials>
export type Context = ProviderContext<Credentials>

function webhookSecretField(description: string): z.ZodString {
  return secretField(description).regex(/^whsec_[\x21-\x7e]+$/, 'Begins with whsec_, as Stripe shows it.')
}

/** The one whose shapes are read and written here. */
const version = '2026-10-28.endive'
const maxAnswerBytes = 16 * 1024 * 1024
const hourMs = 60 * 60 * 1000

interface StripeCall<Answer> {
  /** Below `/v1`; ids among them come from outside and are checked. */
  path: readonly string[]
  form?: Form
  /** Idempotency key: with one it is a POST. */
  key?: string
  isDelete?: boolean
  /** Reads the answer into fields of our own: they stand beside the outcome. */
  answer: AnswerSchema<Answer>
  /** Where a 402 holds the thing that the card was declined for: no refusal then, but an answer. */
  declined?: 'payment_intent' | 'setup_intent'
}

export async function callStripe<Answer extends object>(
  context: Context,
  { path, form = {}, key, isDelete = false, answer: schema, declined }: StripeCall<Answer>,
): Promise<Outcome<Answer>> {
  const odd = path.find((part) => !/^\w{1,255}$/.test(part))
  if (odd !== undefined) return refuse('content', `${JSON.stringify(odd.slice(0, 80))} is no id of ${title}.`)
  const { secretKey, account } = context.credentials
  const isPost = key !== undefined
  const encoded = writeForm(form)
  const call = {
    title,
    method: isDelete ? ('DELETE' as const) : isPost ? ('POST' as const) : ('GET' as const),
    path: `/v1/${path.join('/')}${isPost || encoded === '' ? '' : `?${encoded}`}`,
    headers: {
      authorization: `Bearer ${secretKey}`,
      'stripe-version': version,
      ...(account && { 'stripe-account': account }),
      ...(isPost && { 'content-type': 'application/x-www-form-urlencoded', 'idempotency-key': key }),
    },
    ...(isPost && { body: encoded }),
    read: readJson(schema),
    // A second DELETE finds what the first one left.
    repeatable: true,
    maxAnswerBytes,
  }
  let about: Answer | undefined
  const outcome = await callProvider(context, call, (answer) => {
    const error = readJson(errorAnswer)(answer)?.error
    if (answer.status === 402 && declined) about = schema.safeParse(error?.[declined]).data
    return classify(answer, error)
  })
  return about ? { ...about, outcome: 'done' } : mapDone(outcome, ({ answer }) => answer)
}

const errorAnswer = z.looseObject({ error: reasonAnswer.extend(fieldsOf(optionalText, 'param', 'message')) })

/** The same key again answers the same, a 500 as well: `stripe-should-retry` tells when that is of no use. */
function classify(answer: ProviderAnswer, error?: z.output<typeof errorAnswer>['error']): NotDone {
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

/** It may already be done: then it is read. */
export function blameState(outcome: NotDone): NotDone {
  return { ...outcome, error: { ...outcome.error, kind: 'state' } }
}

export function isMissing(outcome: Outcome<object>): boolean {
  return outcome.outcome === 'refused' && outcome.error.code === 'resource_missing'
}

/** Nothing found: there certainly is no such thing at Stripe. */
export async function findStripe<Item>(
  context: Context,
  answer: z.ZodType<Item>,
  path: readonly string[],
  ...expand: readonly string[]
): Promise<Outcome<{ found?: Item }>> {
  const call = { path, form: { expand }, answer: mapped(answer, (found) => ({ found })) }
  const outcome = await callStripe(context, call)
  return isMissing(outcome) ? { outcome: 'done' } : outcome
}

/** Makes what has only to be named afterwards. */
export function makeStripe(
  context: Context,
  path: readonly string[],
  form: Form,
  key: string,
): Promise<Outcome<{ id: string }>> {
  return callStripe(context, { path, form, key, answer: mapped(namedAnswer, ({ id }) => ({ id })) })
}

export function pathOfPage(...rest: string[]): string[] {
  return ['checkout', 'sessions', ...rest]
}

export function openPage<Snapshot>(
  context: Context,
  read: (page: Page) => Snapshot,
  key: string,
  form: Form,
): Promise<Outcome<{ snapshot: Snapshot }>> {
  const answer = mapped(pageAnswer, (page) => ({ snapshot: read(page) }))
  return callStripe(context, { path: pathOfPage(), key, form, answer })
}

/** A page that can't be closed was paid or has ended in the meantime; Stripe has no code for that. */
export async function closePage<Snapshot>(
  context: Context,
  read: (page: Page) => Snapshot,
  key: string,
  { id }: Page,
): Promise<Outcome<{ snapshot: Snapshot & { status: 'canceled' } }>> {
  const answer = mapped(pageAnswer, (page) => {
    return { snapshot: { ...read(page), status: 'canceled' as const } }
  })
  const outcome = await callStripe(context, { path: pathOfPage(id, 'expire'), key, answer })
  const isClosed = outcome.outcome === 'refused' && outcome.error.httpStatus === 400
  return isClosed ? blameState(outcome) : outcome
}

interface Listing<Item> {
  path: readonly string[]
  form?: Form
  item: z.ZodType<Item>
}

/** Newest first, at most a hundred. */
export function readListPage<Item>(
  context: Context,
  { path, form, item }: Listing<Item>,
): Promise<Outcome<ListPage<Item>>> {
  const answer = mapped(listOf(item), ({ data: items, has_more: hasMore }) => {
    return { items, hasMore: hasMore === true && items.length > 0 }
  })
  return callStripe(context, { path, form: { ...form, limit: 100 }, answer })
}

export function listStripe<Item extends { id: string }>(
  context: Context,
  { form, ...listing }: Listing<Item>,
  until?: (item: Item) => boolean,
) {
  return readPages(
    (last) => readListPage(context, { ...listing, form: { ...form, starting_after: last?.id } }),
    { mostPages: 10, until },
  )
}

/** By our own id, which travels in the metadata under a name of `references`. */
export function findOurs<Item extends z.output<typeof namedAnswer>>(
  context: Context,
  listing: Listing<Item>,
  [name, value, createdAt]: [name: string, value: string, createdAt: Date],
): Promise<Outcome<{ found: Item | undefined }>> {
  const madeMs = createdAt.getTime()
  // Clocks differ. A page is open for a day, and a call is repeated no longer than that.
  const created = { gte: toSeconds(madeMs - hourMs / 12), lte: toSeconds(madeMs + 25 * hourMs) }
  const query = `metadata['${name}']:'${value.replaceAll(/\W/g, '')}'`
  const isOurs = ({ metadata }: Item) => metadata?.[name] === value
  return findByReference({
    isOurs,
    list: () => listStripe(context, { ...listing, form: { ...listing.form, created } }, isOurs),
    search: () => readListPage(context, { ...listing, path: [...listing.path, 'search'], form: { query } }),
    mayLag: context.now().getTime() - madeMs <= hourMs,
    message: `${title}: nothing was found yet, and the search may lag behind for an hour.`,
  })
}
