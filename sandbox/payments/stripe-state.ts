import { randomBytes } from 'node:crypto'
import type { Reply } from '../http.ts'
import type { World } from '../world.ts'
import type { Agenda } from './agenda.ts'
import type { PaymentFault } from './payment-faults.ts'
import type { LineItem, Subscription } from './stripe-billing-objects.ts'
import type { CardBehaviour } from './stripe-cards.ts'
import { resourceMissing } from './stripe-errors.ts'
import type { PaymentIntent, StripeObject } from './stripe-objects.ts'

export type Stripe = {
  world: World
  agenda: Agenda
  accounts: StripeAccounts
  /** By the id in the page's address. */
  pages: Map<string, StripePage>
}

export type StripePage = {
  account: StripeAccount
  /** Of the call that made the page: what happens there suffers it too. */
  fault: PaymentFault | null
}

export type StripeAccounts = {
  byName: Map<string, StripeAccount>
  byKey: Map<string, StripeAccount>
  /** `acct_… test`, `acct_… live`. */
  byId: Map<string, StripeAccount>
}

export type StripeAccount = {
  name: string
  /** `acct_…`, the same after a restart. */
  id: string
  /** All secret and restricted keys; a connected account has none. */
  keys: string[]
  livemode: boolean
  /** Whose keys act for it: its events carry `account`, and reach the platform. */
  platform: StripeAccount | null
  title: string
  /** Made by `webhook_url` of the sandbox or by the API; newest secret first. */
  endpoints: Array<{ id: string; secrets: string[]; connect: 'own' | 'connected' | 'both' }>
  options: {
    /** What becomes of a subscription when every retry of an invoice failed. */
    afterRetries: 'cancel' | 'unpaid' | 'past_due'
    /** How long a new object takes to be found by search. */
    searchLagMs: number
  }
  idempotency: Map<string, Remembered>
  objects: Map<string, StripeObject>
  /** By type, and by type and the id of what it belongs to; oldest first. */
  lists: Map<string, StripeObject[]>
  byMetadata: Map<string, StripeObject[]>
  /** What nobody sees of a payment method. */
  cards: Map<string, CardState>
  events: StripeEvent[]
  balance: Map<string, number>
  /** Who made a payment intent for a checkout or an invoice, by the intent's id. */
  followers: Map<string, Follower>
  /** What a checkout session will make, by its id. */
  checkouts: Map<string, CheckoutPlan>
}

export type CheckoutPlan = {
  items: LineItem[]
  payment: Partial<PaymentIntent>
  subscription: Partial<Pick<Subscription, 'description' | 'metadata' | 'trial_settings'>>
  trialEnd: { trial_end?: 'now' | number | undefined; trial_period_days?: number | undefined }
  makesCustomer: boolean
}

export type Follower = {
  /** What PipeCore calls what the money is for. */
  reference: string | null
  /** Called when the intent's status changed. */
  changed: (work: Work, intent: PaymentIntent) => void
}

export type CardState = {
  behaviour: CardBehaviour
  /** Authenticated once for later charges without the customer. */
  isSetUp: boolean
  /** Used without a customer, or detached: of no more use. */
  isSpent: boolean
}

/** The first answer of an idempotency key; `reply` null while it is still being made. */
export type Remembered = { fingerprint: string; requestId: string; reply: Reply | null; at: number }

export type StripeEvent = { id: string; type: string; created: number; about: string; text: string }

/** One call or one thing that Stripe does by itself: everything in it happens at one second. */
export type Work = {
  stripe: Stripe
  account: StripeAccount
  at: number
  version: string
  request: { id: string | null; idempotency_key: string | null }
  /** Sent when the work is done, as the fault has it. */
  events: StripeEvent[]
  fault: PaymentFault | null
}

export const API_VERSION = '2026-10-28.endive'

export function startWork(stripe: Stripe, account: StripeAccount, at = stripe.world.now()): Work {
  return {
    stripe,
    account,
    at: Math.floor(at.getTime() / 1_000),
    version: API_VERSION,
    request: { id: null, idempotency_key: null },
    events: [],
    fault: null,
  }
}

export function createId(prefix: string, bytes = 18): string {
  return `${prefix}_${randomBytes(bytes).toString('base64url').replaceAll(/[-_]/g, 'x')}`
}

export function addPage({ stripe, account, fault }: Work, id: string): void {
  stripe.pages.set(id, { account, fault })
}

/** Keeps an object; it is listed by its type, and below each of `parents`. */
export function addObject<Added extends StripeObject>(
  { account }: Work,
  object: Added,
  parents: ReadonlyArray<string | null> = [],
): Added {
  account.objects.set(object.id, object)
  push(account.lists, object.object, object)
  for (const parent of parents) if (parent !== null) listUnder(account, object, parent)
  for (const key of metadataKeys(object)) push(account.byMetadata, key, object)
  return object
}

export function listUnder(account: StripeAccount, object: StripeObject, parent: string): void {
  push(account.lists, `${object.object} ${parent}`, object)
}

/** Makes an object found by what its metadata say now; what they said before is compared at the search. */
export function indexMetadata(account: StripeAccount, object: StripeObject): void {
  for (const key of metadataKeys(object))
    if (!account.byMetadata.get(key)?.includes(object)) push(account.byMetadata, key, object)
}

function metadataKeys({ object: type, metadata = {} }: StripeObject): string[] {
  return Object.entries(metadata).map(([name, value]) => metadataKey(type, name, value))
}

export function metadataKey(type: string, name: string, value: string): string {
  return JSON.stringify([type, name, value])
}

/** Oldest first. */
export function objectsOf<Listed extends StripeObject>(
  account: StripeAccount,
  type: Listed['object'],
  parent?: string,
): readonly Listed[] {
  return (account.lists.get(parent === undefined ? type : `${type} ${parent}`) ?? []) as Listed[]
}

export function findObject<Found extends StripeObject>(
  account: StripeAccount,
  type: Found['object'],
  id: string | null,
): Found | undefined {
  const object = id === null ? undefined : account.objects.get(id)
  return object?.object === type ? (object as Found) : undefined
}

/** The object of an id, or Stripe's answer for one that is not there. */
export function getObject<Found extends StripeObject>(
  account: StripeAccount,
  type: Found['object'],
  id: string,
  param?: string,
): Found {
  const found = findObject<Found>(account, type, id)
  if (!found) throw resourceMissing(type, id, param)
  return found
}

export function clearObjects(account: StripeAccount): void {
  for (const map of [
    account.idempotency,
    account.byMetadata,
    account.cards,
    account.balance,
    account.followers,
    account.checkouts,
  ])
    map.clear()
  account.events.length = 0
  const kept = objectsOf(account, 'webhook_endpoint')
  account.objects = new Map(kept.map((endpoint) => [endpoint.id, endpoint]))
  account.lists = new Map([['webhook_endpoint', [...kept]]])
}

function push(lists: Map<string, StripeObject[]>, key: string, object: StripeObject): void {
  const known = lists.get(key)
  if (known) known.push(object)
  else lists.set(key, [object])
}
