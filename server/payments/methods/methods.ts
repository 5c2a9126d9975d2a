import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import type { NotDone, Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { wakeWork } from '#jobs'
import { sealSecret } from '#tenants'
import { recordEvents } from '#webhooks/outbound'
import { type Account, openAccount } from '../accounts.ts'
import { traceOf } from '../events.ts'
import { orAsItStands } from '../operations.ts'
import { finishLog, type FinishedCall, logRead, timeCall, writeLog } from '../payment-log.ts'
import { presentFailure, presentMethod, readJson } from '../presentation.ts'
import { returnUrl } from '../provider-registry.ts'
import type { Customer, Failure, MethodRef, MethodSnapshot, NextAction } from '../providers/provider.ts'
import { routeAccount } from '../routing.ts'
import { eventAboutMethod } from './events.ts'
import { findMethod, insertMethod, listMethods, lockMethod, updateMethod } from './queries.ts'
import { cellOfMethod, findChoice, type MethodRow } from './saved-methods.ts'
import type { Method, MethodQuery, NewMethod } from './schema.ts'

const tokenBytes = 18

/**
 * Saves a customer's way to pay: at once from a token, or on the provider's page (Oneclick's inscription).
 * @throws PipeError 422 `request_invalid`, `connection_missing`, 502 `provider_refused`
 */
export async function saveMethod(
  context: Context,
  scope: TenantScope,
  input: NewMethod,
  idempotencyKey: string | undefined,
): Promise<Method> {
  const once = { key: idempotencyKey, operation: 'payments.method', request: input }
  let begun: Begun | undefined
  const { id } = await context.database.asTenant(scope, (db) =>
    runOnce(db, scope, once, async () => {
      begun = await storeMethod(context, db, scope, input)
      return { id: begun.row.id }
    }),
  )
  if (begun === undefined) return getMethod(context, scope, id)
  const { account, row, logId } = begun
  const command = {
    ...toRef(row),
    tenantId: scope.tenantId,
    ...(input.token !== undefined && { token: input.token }),
    returnUrl: returnUrl(context.config.publicUrl, row.return_token),
    key: row.id,
  }
  const ended = await timeCall(
    async () => account.provider.saveMethod?.(command, account.context) ?? notOffered,
    account.lastAnswer,
  )
  const follow = () =>
    context.database.asTenant(scope, async (db) => {
      await finishLog(db, scope, logId, withoutAnswer(ended))
      return settleMethod(context, db, scope, row.id, ended.outcome)
    })
  const saved = await orAsItStands(context, scope, row, { follow, find: findMethod })
  wakeWork('delivery')
  return presentSaved(saved ?? row)
}

interface Begun {
  row: MethodRow
  account: Account
  logId: string
}

async function storeMethod(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  input: NewMethod,
): Promise<Begun> {
  const account = await routeAccount(
    context,
    db,
    scope,
    input,
    ({ capabilities }) => capabilities.savedMethods,
  )
  const { provider } = account
  if (provider.saveMethod === undefined) {
    throw invalidRequest(`${provider.title} saves no methods.`, [
      { field: 'provider', message: 'saves no methods' },
    ])
  }
  if (input.token !== undefined && !provider.capabilities.tokens) {
    const message = `is not taken by ${provider.title}: give a return_url, the customer enters the card there`
    throw invalidRequest('The method can not be saved; see errors.', [{ field: 'token', message }])
  }
  const now = context.now()
  const row: MethodRow = {
    id: createId('pmt', now),
    tenant_id: scope.tenantId,
    provider: provider.id,
    connection_id: account.connectionId,
    status: 'pending',
    customer: JSON.stringify(input.customer),
    customer_reference: input.customer.reference ?? null,
    sealed_token: null,
    provider_inscription_id: null,
    finishing_at: null,
    summary: null,
    failure: null,
    action: null,
    return_url: input.return_url ?? null,
    return_token: randomBytes(tokenBytes).toString('base64url'),
    trace_id: scope.traceId,
    created_at: now,
    updated_at: now,
  }
  await insertMethod(db, row)
  const logId = await writeLog(context, db, scope, {
    subject: row.id,
    provider: provider.id,
    action: 'save_method',
  })
  return { row, account, logId }
}

export const notOffered: NotDone = {
  outcome: 'refused',
  error: { kind: 'content', retry: 'never', failover: false, message: 'The provider does not offer this.' },
}

export function toRef(row: MethodRow): MethodRef {
  return {
    methodId: row.id,
    ...(row.provider_inscription_id !== null && { providerInscriptionId: row.provider_inscription_id }),
    customer: JSON.parse(row.customer) as Customer,
  }
}

/** The answer may hold the token that charges the customer. */
export function withoutAnswer<Call extends FinishedCall>(call: Call): Call {
  return { ...call, answer: undefined }
}

const notSaved: Failure = { code: 'provider_refused', providerCode: 'not_saved', retry: 'same' }

/** A method whose saving has no known end is not usable: nothing was charged, and the customer saves it again. */
export async function settleMethod(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
  outcome: Outcome<{ snapshot: MethodSnapshot }>,
): Promise<MethodRow> {
  const row = await lockMethod(db, scope.tenantId, id)
  if (row === undefined) throw notFound('payment_method', id)
  // A card that was saved after all is saved, whatever a second browser was told.
  const isLate = row.status !== 'pending' && row.status !== 'removed'
  const isSaved = outcome.outcome === 'done' && outcome.snapshot.status === 'active'
  if (row.status !== 'pending' && !(isLate && isSaved && row.status !== 'active')) return row
  const snapshot: MethodSnapshot =
    outcome.outcome === 'done' ? outcome.snapshot : { status: 'failed', failure: notSaved }
  const { status, token, summary, action, failure, providerInscriptionId } = snapshot
  const next: MethodRow = {
    ...row,
    status,
    provider_inscription_id: providerInscriptionId ?? row.provider_inscription_id,
    summary: summary === undefined ? row.summary : JSON.stringify(summary),
    action: action === undefined ? null : JSON.stringify(action),
    failure: failure === undefined ? null : JSON.stringify(failure),
    ...(token !== undefined && {
      sealed_token: await sealSecret(context, db, cellOfMethod(scope.tenantId, id), JSON.stringify(token)),
    }),
    updated_at: context.now(),
  }
  await updateMethod(db, scope.tenantId, id, next)
  const event = { active: 'saved', failed: 'failed', canceled: 'canceled', pending: undefined }[status]
  if (event !== undefined) {
    const now = context.now()
    await recordEvents(db, traceOf(scope, row), [eventAboutMethod(next, event, now)], now)
  }
  return next
}

/** @throws PipeError 404, 502 `provider_refused` */
export async function removeMethod(context: Context, scope: TenantScope, id: string): Promise<Method> {
  const opened = await context.database.asTenant(scope, async (db) => {
    const row = await findMethod(db, scope.tenantId, id)
    if (row === undefined) throw notFound('payment_method', id)
    const choice = await findChoice(context, db, scope, id)
    return { row, choice, account: await openAccount(context, db, scope, row) }
  })
  const { row, choice, account } = opened
  if (row.status === 'removed') return presentSaved(row)
  const ended =
    choice === undefined
      ? undefined
      : await timeCall(
          async () =>
            account.provider.removeMethod?.(choice.token, toRef(row), account.context) ?? notOffered,
          account.lastAnswer,
        )
  const removed = await context.database.asTenant(scope, async (db) => {
    const entry = { subject: id, provider: row.provider, action: 'remove_method' }
    if (ended !== undefined) await logRead(context, db, scope, entry, ended)
    if (ended?.outcome.outcome === 'unknown') return undefined
    const next: MethodRow = {
      ...row,
      status: 'removed',
      sealed_token: null,
      action: null,
      updated_at: context.now(),
    }
    await updateMethod(db, scope.tenantId, id, next)
    const now = context.now()
    await recordEvents(db, traceOf(scope, row), [eventAboutMethod(next, 'removed', now)], now)
    return next
  })
  wakeWork('delivery')
  if (removed !== undefined) return presentSaved(removed)
  const text = 'The provider did not say whether the method was removed. Try again.'
  throw new PipeError('provider_unavailable', 502, text)
}

/** @throws PipeError 404 */
export async function getMethod(context: Context, scope: TenantScope, id: string): Promise<Method> {
  const row = await context.database.asTenant(scope, (db) => findMethod(db, scope.tenantId, id))
  if (row === undefined) throw notFound('payment_method', id)
  return presentSaved(row)
}

export async function getMethods(
  context: Context,
  scope: TenantScope,
  query: MethodQuery,
): Promise<Page<Method>> {
  const rows = await context.database.asTenant(scope, (db) =>
    listMethods(db, scope.tenantId, {
      customerReference: query.customer_reference,
      status: query.status,
      before: decodeCursor(query.cursor),
      limit: query.limit + 1,
    }),
  )
  return toPage(rows, query.limit, presentSaved)
}

function presentSaved(row: MethodRow): Method {
  const failure = readJson<Failure>(row.failure)
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    provider: row.provider,
    status: row.status,
    customer: JSON.parse(row.customer) as Customer,
    summary: presentMethod(row.summary),
    next_action: readJson<NextAction>(row.action),
    failure: failure === null ? null : presentFailure(failure),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
