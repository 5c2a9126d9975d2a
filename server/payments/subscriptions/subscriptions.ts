import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { type FieldError, invalidRequest, notFound } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { type Account, openAccount } from '../accounts.ts'
import { openMethod } from '../methods/saved-methods.ts'
import { wireProblem } from '../money.ts'
import { deadlineOf } from '../operation.ts'
import { readJson } from '../presentation.ts'
import type { PaymentProvider } from '../providers/provider.ts'
import { routeAccount } from '../routing.ts'
import { lookAfterChange } from './look.ts'
import type { SubscriptionOperation } from './operation.ts'
import { performCall, prepareCall, type SubscriptionCall } from './operations.ts'
import { presentCharge, presentSubscription } from './presentation.ts'
import {
  findSubscription,
  insertSubscription,
  listCharges,
  listSubscriptions,
  type SubscriptionRow,
} from './queries.ts'
import type { NewSubscription, Subscription, SubscriptionQuery, SubscriptionStory } from './schema.ts'

const dayMs = 24 * 60 * 60 * 1000
const tokenBytes = 18
const shownCharges = 100

/**
 * Begins to charge a customer each period: natively where the provider knows subscriptions, else PipeCore charges
 * the saved method itself. Stored before anything is called.
 * @throws PipeError 422 `request_invalid`, `connection_missing`, `method_unusable`
 */
export async function createSubscription(
  context: Context,
  scope: TenantScope,
  input: NewSubscription,
  idempotencyKey: string | undefined,
): Promise<Subscription> {
  const once = { key: idempotencyKey, operation: 'payments.subscribe', request: input }
  let stored: StoredSubscription | undefined
  const { id } = await context.database.asTenant(scope, (db) =>
    runOnce(db, scope, once, async () => {
      stored = await storeSubscription(context, db, scope, input)
      return { id: stored.row.id }
    }),
  )
  if (stored === undefined) return presentSubscription(await waitForBeginning(context, scope, id))
  const begun =
    stored.call === undefined
      ? await lookAfterChange(context, scope, stored.row, 'request')
      : (await performCall(context, scope, stored.call)).row
  return presentSubscription(begun ?? stored.row)
}

interface StoredSubscription {
  row: SubscriptionRow
  /** Absent where PipeCore charges by itself. */
  call?: SubscriptionCall
}

async function storeSubscription(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  input: NewSubscription,
): Promise<StoredSubscription> {
  const account = await routeSubscription(context, db, scope, input)
  refuseImpossible(input, account)
  const row = toRow(context, scope, input, account)
  await insertSubscription(db, row)
  if (row.mode === 'emulated') return { row }
  return { row, call: await prepareCall(context, db, scope, { row, account }, { kind: 'create' }) }
}

function routeSubscription(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  input: NewSubscription,
): Promise<Account> {
  const { method_id: methodId } = input
  return methodId === undefined
    ? routeAccount(context, db, scope, input, (provider) => fits(provider, input))
    : openMethod(context, db, scope, methodId).then(({ row }) => openAccount(context, db, scope, row))
}

/** Without a saved method only a provider's own subscriptions can begin. */
function fits({ capabilities }: PaymentProvider, { currency, token }: NewSubscription): boolean {
  const takesToken = token === undefined || capabilities.tokens
  return capabilities.subscriptions === 'native' && capabilities.wire[currency] !== undefined && takesToken
}

/** What a provider certainly can't do is told before anything is stored. */
function refuseImpossible(input: NewSubscription, { provider }: Account): void {
  const { capabilities, title } = provider
  const errors: FieldError[] = []
  const isNative = capabilities.subscriptions === 'native'
  if (capabilities.subscriptions === 'none') {
    errors.push({ field: 'provider', message: `${title} can't charge by itself` })
  }
  if (capabilities.wire[input.currency] === undefined) {
    errors.push({ field: 'currency', message: `${title} takes no ${input.currency} here.` })
  } else errors.push(...findAmountFaults(input.amount, input.currency, provider))
  if (input.token !== undefined && !capabilities.tokens) {
    errors.push({ field: 'token', message: `is not taken by ${title}: save the method first` })
  }
  if (input.method_id === undefined && input.token === undefined) {
    if (!isNative) {
      const message = `is missing: save it first with POST /payments/methods, ${title} has no page to subscribe on`
      errors.push({ field: 'method_id', message })
    } else if (input.return_url === undefined) {
      const message =
        'is missing: without method_id or token the customer subscribes on a page and comes back'
      errors.push({ field: 'return_url', message })
    }
  }
  if (errors.length > 0) throw invalidRequest(`${title} can't take this subscription; see errors.`, errors)
}

export function findAmountFaults(
  amount: number,
  currency: string,
  { title, capabilities: { wire } }: PaymentProvider,
): FieldError[] {
  const message = wireProblem(amount, currency, { title, wire })
  return message === undefined ? [] : [{ field: 'amount', message }]
}

function toRow(
  context: Context,
  scope: TenantScope,
  input: NewSubscription,
  account: Account,
): SubscriptionRow {
  const now = context.now()
  const trialEnd = input.trial_days === undefined ? null : new Date(now.getTime() + input.trial_days * dayMs)
  const { token, brand, issuer } = input
  return {
    id: createId('sub', now),
    tenant_id: scope.tenantId,
    provider: account.provider.id,
    connection_id: account.connectionId,
    mode: account.provider.capabilities.subscriptions === 'native' ? 'native' : 'emulated',
    status: 'pending',
    amount: input.amount,
    currency: input.currency,
    every: input.interval.every,
    every_count: input.interval.count,
    description: input.description,
    reference: input.reference ?? null,
    customer: JSON.stringify(input.customer),
    metadata: JSON.stringify(input.metadata),
    method_id: input.method_id ?? null,
    method_token: token === undefined ? null : JSON.stringify({ token, brand, issuer }),
    provider_subscription_id: null,
    trial_end: trialEnd,
    anchor: trialEnd ?? now,
    periods: 0,
    period_start: null,
    period_end: null,
    cancel_at_period_end: false,
    failed_attempts: 0,
    action: null,
    failure: null,
    details: '{}',
    operation: null,
    return_url: input.return_url ?? null,
    return_token: randomBytes(tokenBytes).toString('base64url'),
    check_at: deadlineOf(context),
    told: false,
    trace_id: scope.traceId,
    created_at: now,
    ended_at: null,
    updated_at: now,
  }
}

const firstPollMs = 30
const longestPollMs = 400
const marginMs = 1_000

/** Another request, perhaps in another process, begins it: its end, or how it stands when the time is up. */
async function waitForBeginning(context: Context, scope: TenantScope, id: string): Promise<SubscriptionRow> {
  const deadline = performance.now() + context.config.providerTimeoutMs + marginMs
  for (let pollMs = firstPollMs; ; pollMs = Math.min(pollMs * 1.5, longestPollMs)) {
    const row = await context.database.asTenant(scope, (db) => requireSubscription(db, scope, id))
    const operation = readJson<SubscriptionOperation>(row.operation)
    const isBeginning = row.mode === 'native' ? operation?.state === 'running' : row.status === 'pending'
    if (!isBeginning || performance.now() > deadline) return row
    await sleep(pollMs)
  }
}

async function requireSubscription(
  db: Kysely<Tables>,
  { tenantId }: TenantScope,
  id: string,
): Promise<SubscriptionRow> {
  const row = await findSubscription(db, tenantId, id)
  if (row === undefined) throw notFound('subscription', id)
  return row
}

/** @throws PipeError 404 */
export async function getSubscription(
  context: Context,
  scope: TenantScope,
  id: string,
): Promise<SubscriptionStory> {
  return context.database.asTenant(scope, async (db) => {
    // Read first, they are never ahead of the status.
    const charges = await listCharges(db, scope.tenantId, id, shownCharges)
    const row = await requireSubscription(db, scope, id)
    return { ...presentSubscription(row), charges: charges.map(presentCharge) }
  })
}

export async function getSubscriptions(
  context: Context,
  scope: TenantScope,
  query: SubscriptionQuery,
): Promise<Page<Subscription>> {
  const rows = await context.database.asTenant(scope, (db) =>
    listSubscriptions(db, scope.tenantId, {
      provider: query.provider,
      status: query.status,
      reference: query.reference,
      customerReference: query.customer_reference,
      before: decodeCursor(query.cursor),
      limit: query.limit + 1,
    }),
  )
  return toPage(rows, query.limit, presentSubscription)
}
