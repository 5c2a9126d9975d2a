import { z } from 'zod'
import { describeError, readJson } from '#connections'
import type { Outcome } from '#connections'
import type { PaymentRef, PaymentSnapshot } from './provider.ts'
import {
  callStripe,
  type Listing,
  listStripe,
  readListPage,
  type StripeContext,
  title,
} from './stripe-call.ts'
import { expandable, expanded, type Intent, intentAnswer, readIntent, readRefund } from './stripe-mapping.ts'
import { readSession, references, refundAnswer, type Session, sessionAnswer } from './stripe-mapping.ts'

const hourMs = 60 * 60 * 1000
/** Clocks differ. */
const skewMs = hourMs / 12
/** A page is open for a day; a call is repeated no longer than that. */
const longestCreateMs = 25 * hourMs
/** So long it may take until Stripe's search finds what was made. */
const searchDelayMs = hourMs

/** With what became of the money: so that one call tells all. */
const wholeIntent = ['latest_charge', 'latest_charge.refunds']

/** A payment as it was found: the page, its payment, or both. */
interface Found {
  session?: Session
  intent?: Intent
}

type Snapshot = Outcome<{ snapshot: PaymentSnapshot }>

export async function readPayment(
  ref: PaymentRef,
  context: StripeContext,
): Promise<Outcome<{ snapshot: PaymentSnapshot | undefined }>> {
  const outcome = await findPayment(ref, context)
  if (outcome.outcome !== 'done') return outcome
  const { session, intent } = outcome
  const snapshot = session ? readSession(session) : intent && readIntent(intent)
  return snapshot === undefined
    ? { outcome: 'done', snapshot: undefined }
    : completeSnapshot(snapshot, intent, context)
}

/** By the ids Stripe gave, else by ours. Nothing found: Stripe certainly has nothing. */
export async function findPayment(ref: PaymentRef, context: StripeContext): Promise<Outcome<Found>> {
  const { flow, providerCheckoutId: sessionId, providerPaymentId: intentId } = ref
  if (flow === 'checkout' && sessionId !== undefined) {
    const expand = wholeIntent.map((name) => `payment_intent.${name}`)
    const call = {
      path: ['checkout', 'sessions', sessionId],
      form: { expand },
      read: readJson(sessionAnswer),
    }
    const outcome = absentIfMissing(await callStripe(context, call))
    if (outcome.outcome !== 'done') return outcome
    const session = outcome.answer
    return judgeFound({ session, intent: expanded(session?.payment_intent) }, ref)
  }
  const known =
    intentId === undefined ? await findIntentId(ref, context) : { outcome: 'done' as const, id: intentId }
  if (known.outcome !== 'done') return known
  if (known.id === undefined) return { outcome: 'done' }
  const call = { path: ['payment_intents', known.id], form: { expand: wholeIntent } }
  const outcome = absentIfMissing(await callStripe(context, { ...call, read: readJson(intentAnswer) }))
  return outcome.outcome === 'done' ? judgeFound({ intent: outcome.answer }, ref) : outcome
}

async function findIntentId(
  { paymentId, createdAt }: PaymentRef,
  context: StripeContext,
): Promise<Outcome<{ id: string | undefined }>> {
  const reference = { name: references.payment, value: paymentId, createdAt }
  const outcome = await findByReference(
    { path: ['payment_intents'], item: intentAnswer, ...reference },
    context,
  )
  return outcome.outcome === 'done' ? { outcome: 'done', id: outcome.found?.id } : outcome
}

function absentIfMissing<Answer>(
  outcome: Outcome<{ answer: Answer }>,
): Outcome<{ answer: Answer | undefined }> {
  if (outcome.outcome !== 'refused' || outcome.error.code !== 'resource_missing') return outcome
  return { outcome: 'done', answer: undefined }
}

/** An answer about another payment never becomes a state of this one. */
function judgeFound(found: Found, { paymentId }: PaymentRef): Outcome<Found> {
  const named = (found.intent ?? found.session)?.metadata?.[references.payment]
  if (named === undefined || named === paymentId) return { outcome: 'done', ...found }
  const message = `${title}: the answer is about ${named}, not about this payment.`
  return {
    outcome: 'unknown',
    error: describeError(['unknown', 'never', false], { code: 'mismatch', message }),
  }
}

interface Reference<Item> extends Listing<Item> {
  name: string
  value: string
  createdAt: Date
}

/**
 * By our own id, which travels in the metadata. The list is exact; Stripe's search lags behind, so it is asked only
 * where the list is too long.
 */
export async function findByReference<
  Item extends { id: string; metadata?: Record<string, string> | null | undefined },
>(
  { name, value, createdAt, ...listing }: Reference<Item>,
  context: StripeContext,
): Promise<Outcome<{ found: Item | undefined }>> {
  const from = createdAt.getTime()
  const created = { gte: toSeconds(from - skewMs), lte: toSeconds(from + longestCreateMs) }
  const until = ({ metadata }: Item) => metadata?.[name] === value
  const listed = await listStripe(context, { ...listing, form: { ...listing.form, created }, until })
  if (listed.outcome !== 'done') return listed
  const found = listed.items.find(until)
  if (found !== undefined || listed.isWhole) return { outcome: 'done', found }
  const query = `metadata['${name}']:'${value.replaceAll(/\W/g, '')}'`
  const searched = await readListPage(context, {
    ...listing,
    path: [...listing.path, 'search'],
    form: { query },
  })
  if (searched.outcome !== 'done') return searched
  const searchedFor = searched.items.find(until)
  if (searchedFor !== undefined || context.now().getTime() - from > searchDelayMs) {
    return { outcome: 'done', found: searchedFor }
  }
  const message = `${title}: nothing was found yet, and the search may lag behind for an hour.`
  return { outcome: 'unknown', error: describeError(['transient', 'backoff', false], { message }) }
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}

/** Adds refunds and the dispute. The charge's own sum also counts what was let go of a hold. */
async function completeSnapshot(
  snapshot: PaymentSnapshot,
  intent: Intent | undefined,
  context: StripeContext,
): Promise<Snapshot> {
  const charge = expanded(intent?.latest_charge)
  if (intent === undefined || snapshot.captured === 0) return { outcome: 'done', snapshot }
  const inline = charge?.refunds?.has_more === false ? charge.refunds.data : undefined
  const listing = { path: ['refunds'], form: { payment_intent: intent.id }, item: refundAnswer }
  const listed = inline ? { outcome: 'done' as const, items: inline } : await listStripe(context, listing)
  if (listed.outcome !== 'done') return listed
  const refunds = listed.items.map(readRefund)
  const refunded = refunds.reduce((sum, { status, amount }) => sum + (status === 'succeeded' ? amount : 0), 0)
  const complete = { ...snapshot, refunds, refunded }
  return charge?.disputed ? addDispute(complete, intent, context) : { outcome: 'done', snapshot: complete }
}

const disputeAnswer = z.looseObject({ id: z.string(), status: z.string() })

async function addDispute(
  snapshot: PaymentSnapshot,
  intent: Intent,
  context: StripeContext,
): Promise<Snapshot> {
  const listing = { path: ['disputes'], form: { payment_intent: intent.id }, item: disputeAnswer }
  const listed = await readListPage(context, listing)
  if (listed.outcome === 'unknown') return listed
  const dispute = listed.outcome === 'done' ? listed.items[0] : undefined
  const status = disputeStatuses.get(dispute?.status ?? '')
  if (!dispute || !status) return { outcome: 'done', snapshot }
  return { outcome: 'done', snapshot: { ...snapshot, dispute: { status, providerDisputeId: dispute.id } } }
}

const disputeStatuses = new Map<string, NonNullable<PaymentSnapshot['dispute']>['status']>([
  ['needs_response', 'open'],
  ['warning_needs_response', 'open'],
  ['appeal_needs_response', 'open'],
  ['under_review', 'under_review'],
  ['warning_under_review', 'under_review'],
  ['appeal_under_review', 'under_review'],
  ['won', 'won'],
  ['warning_closed', 'won'],
  ['prevented', 'won'],
  ['lost', 'lost'],
])

const bearer = z.looseObject({ id: z.string(), payment_intent: expandable(intentAnswer) })

/** What is listed to find every payment that was made, refunded or disputed since: Stripe has no list of changes. */
const phases: ReadonlyArray<Listing<{ id: string; intent: Intent | undefined }>> = [
  {
    path: ['payment_intents'],
    form: { expand: wholeIntent.map((name) => `data.${name}`) },
    item: intentAnswer.transform((intent) => ({ id: intent.id, intent })),
  },
  ...['refunds', 'disputes'].map((path) => ({
    path: [path],
    form: { expand: wholeIntent.map((name) => `data.payment_intent.${name}`) },
    item: bearer.transform(({ id, payment_intent: intent }) => ({ id, intent: expanded(intent) })),
  })),
]

type ListedPayment = { paymentId?: string; snapshot: PaymentSnapshot }

/** Stripe lists the newest first: a page is turned round, the order of the pages stays. */
export async function listPayments(
  since: Date,
  cursor: string | undefined,
  context: StripeContext,
): Promise<Outcome<{ payments: readonly ListedPayment[]; next?: string }>> {
  const [index = '0', after] = cursor?.split(':') ?? []
  const phase = phases[Number(index)]
  if (phase === undefined) return { outcome: 'done', payments: [] }
  const created = { gte: toSeconds(since.getTime()) }
  const form = { ...phase.form, created, starting_after: after }
  const page = await readListPage(context, { ...phase, form })
  if (page.outcome !== 'done') return page
  const payments: ListedPayment[] = []
  const intents = page.items.toReversed().flatMap(({ intent }) => intent ?? [])
  for (const intent of new Map(intents.map((one) => [one.id, one])).values()) {
    const snapshot = readIntent(intent)
    // A declined card at a page that is still open looks like a payment that failed.
    if (openStatuses.has(snapshot.status)) continue
    const outcome = await completeSnapshot(snapshot, intent, context)
    if (outcome.outcome !== 'done') return outcome
    const paymentId = intent.metadata?.[references.payment]
    payments.push({ ...(paymentId && { paymentId }), snapshot: outcome.snapshot })
  }
  const next = page.hasMore ? `${index}:${page.items.at(-1)?.id}` : nextPhase(Number(index))
  return { outcome: 'done', payments, ...(next && { next }) }
}

const openStatuses: ReadonlySet<string> = new Set(['pending', 'requires_action', 'failed'])

function nextPhase(index: number): string | undefined {
  return index + 1 < phases.length ? String(index + 1) : undefined
}
