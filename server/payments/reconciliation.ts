import type { Kysely } from 'kysely'
import { z } from 'zod'
import { type ConnectionView, getConnections } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, PipeError } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId } from '#core/ids.ts'
import { type JobDefinition, RetryLater } from '#core/module.ts'
import { createTraceId } from '#core/trace.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { findProductsOf } from '#tenants'
import { openAccount } from './accounts.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import {
  endReconciliation,
  findReconciliation,
  insertReconciliation,
  listPayingTenants,
  type ReconciliationRow,
} from './reconciliation-queries.ts'
import {
  type NewReconciliation,
  presentReconciliation,
  type Reconciliation,
} from './reconciliation-reports.ts'
import { comparePayments, longestReadMs, type Seen } from './reconciliation-run.ts'

const dayMs = 24 * 60 * 60 * 1000
/** How far back a list is read: by itself, and at most. */
const listedMs = 3 * dayMs
const longestDays = 90
const tenantBatch = 200
const mostAttempts = 12
const retryAfterMs = 60_000

const Payload = z.strictObject({ reconciliation_id: z.string() })
const nothing = z.strictObject({})

/** Compares the payments of one connection. Begun anew after a crash it finds in line what it had mended. */
export const reconcile: JobDefinition<z.infer<typeof Payload>> = {
  name: 'payments.reconcile',
  payload: Payload,
  attempts: mostAttempts,
  timeoutSeconds: 2 * 60 * 60,
  run: async (context, { reconciliation_id: id }, { scope, signal }) => {
    if (scope !== undefined) await runReconciliation(context, scope, id, signal)
  },
  bury: async (context, { reconciliation_id: id }, { scope }) => {
    const error = `It could not be brought to an end in ${mostAttempts} attempts.`
    if (scope !== undefined) await end(context, scope, id, { state: 'failed', checked: 0, note: null, error })
  },
}

async function runReconciliation(
  context: Context,
  scope: TenantScope,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const opened = await context.database.asTenant(scope, async (db) => {
    const row = await findReconciliation(db, scope.tenantId, id)
    if (row === undefined || row.state !== 'running') return undefined
    return { row, account: await openAccount(context, db, scope, row) }
  })
  if (opened === undefined) return
  const { row, account } = opened
  const seen: Seen = { ours: new Set(), foreign: new Set(), busy: new Set(), unread: new Set() }
  const silence = await comparePayments({ context, scope, row, account, signal, seen })
  if (silence !== undefined && !(silence.outcome === 'refused' && silence.error.retry === 'never')) {
    const { retry, message } = silence.error
    throw new RetryLater(message, typeof retry === 'object' ? retry.afterMs : retryAfterMs)
  }
  await end(context, scope, id, {
    state: silence === undefined ? 'done' : 'failed',
    checked: seen.ours.size,
    note: describe(seen, account.provider.title),
    error: silence?.error.message ?? null,
  })
}

async function end(
  context: Context,
  scope: TenantScope,
  id: string,
  result: Pick<ReconciliationRow, 'state' | 'checked' | 'note' | 'error'>,
): Promise<void> {
  await context.database.asTenant(scope, (db) =>
    endReconciliation(db, scope.tenantId, id, { ...result, ended_at: context.now() }),
  )
}

function describe({ ours, foreign, busy, unread }: Seen, title: string): string {
  const parts: Array<[count: number, one: string, many: string]> = [
    [
      foreign.size,
      `1 payment at ${title} was not made by PipeCore.`,
      `payments at ${title} were not made by PipeCore.`,
    ],
    [
      busy.size,
      '1 was left to the janitor: a call is under way.',
      'were left to the janitor: calls are under way.',
    ],
    [unread.size, '1 could not be read.', 'could not be read.'],
  ]
  const words = parts.flatMap(([count, one, many]) => {
    if (count === 0) return []
    return [count === 1 ? one : `${count} ${many}`]
  })
  const compared = ours.size === 1 ? '1 payment was' : `${ours.size} payments were`
  return [`${compared} compared with ${title}.`, ...words].join(' ')
}

/** Once a day, for every tenant with payments: a job for each of its active connections. */
export const reconcileDaily: JobDefinition<z.infer<typeof nothing>> = {
  name: 'payments.reconcile_daily',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 1800,
  schedule: '20 4 * * *',
  run: async (context) => {
    const day = context.now().toISOString().slice(0, 10)
    let after = ''
    for (;;) {
      const tenantIds = await listPayingTenants(context.database.system, after, tenantBatch)
      const products = await findProductsOf(context, tenantIds)
      for (const [tenantId, productId] of products) {
        await startDaily(context, { tenantId, productId, traceId: createTraceId() }, day)
      }
      wakeWork('job')
      const last = tenantIds.at(-1)
      if (last === undefined) return
      after = last
    }
  },
}

/** A tenant whose stored credentials no longer fit must not hold up the others. */
async function startDaily(context: Context, scope: TenantScope, day: string): Promise<void> {
  try {
    const active = await listActive(context, scope)
    await context.database.asTenant(scope, async (db) => {
      for (const connection of active) {
        const row = toRow(context, scope, connection, undefined)
        await storeReconciliation(context, db, scope, row, `${day} ${connection.id}`)
      }
    })
  } catch (error) {
    if (!(error instanceof PipeError)) throw error
    context.log.warn({ err: error, tenant: scope.tenantId }, 'payments of a tenant can not be reconciled')
  }
}

async function listActive(context: Context, scope: TenantScope): Promise<ConnectionView[]> {
  const connections = await getConnections(context, scope, ['payments'], requirePaymentProvider)
  return connections.filter(({ isActive }) => isActive)
}

/**
 * Starts a comparison now.
 * @throws PipeError 422 `request_invalid`, `connection_missing`
 */
export async function startReconciliation(
  context: Context,
  scope: TenantScope,
  wish: NewReconciliation,
  idempotencyKey: string | undefined,
): Promise<Reconciliation> {
  const since = wish.since === undefined ? undefined : requireRecent(context, new Date(wish.since))
  const connection = await chooseConnection(context, scope, wish.provider)
  const once = { key: idempotencyKey, operation: 'payments.reconcile', request: wish }
  const wanted = toRow(context, scope, connection, since)
  const row = await context.database.asTenant(scope, async (db) => {
    const { id } = await runOnce(db, scope, once, async () => {
      await storeReconciliation(context, db, scope, wanted)
      return { id: wanted.id }
    })
    return findReconciliation(db, scope.tenantId, id)
  })
  wakeWork('job')
  return presentReconciliation(row ?? wanted)
}

function requireRecent(context: Context, since: Date): Date {
  const ageMs = context.now().getTime() - since.getTime()
  if (ageMs > 0 && ageMs <= longestDays * dayMs) return since
  throw invalidRequest(`since must lie in the last ${longestDays} days.`, [
    { field: 'since', message: `is not in the last ${longestDays} days` },
  ])
}

async function chooseConnection(
  context: Context,
  scope: TenantScope,
  named: string | undefined,
): Promise<ConnectionView> {
  if (named !== undefined) requirePaymentProvider(named)
  const active = (await listActive(context, scope)).filter(
    ({ provider }) => named === undefined || provider === named,
  )
  const [first, second] = active
  if (first === undefined) {
    const text = `Tenant ${scope.tenantId} has no active connection to reconcile. Set one with POST /payments/config/provider.`
    throw new PipeError('connection_missing', 422, text)
  }
  if (second === undefined) return first
  const names = active.map(({ provider }) => provider).join(', ')
  throw invalidRequest(`This tenant has several payment providers; name one of ${names}.`, [
    { field: 'provider', message: `must be one of ${names}` },
  ])
}

function toRow(
  context: Context,
  scope: TenantScope,
  { id: connectionId, provider }: ConnectionView,
  since: Date | undefined,
): ReconciliationRow {
  const now = context.now()
  const hasList = requirePaymentProvider(provider).list !== undefined
  const ago = (ms: number) => new Date(now.getTime() - ms)
  const wanted = since ?? ago(hasList ? listedMs : longestReadMs)
  const earliest = ago(hasList ? longestDays * dayMs : longestReadMs)
  return {
    id: createId('rec', now),
    tenant_id: scope.tenantId,
    provider,
    connection_id: connectionId,
    since: wanted < earliest ? earliest : wanted,
    state: 'running',
    checked: 0,
    drifts: '[]',
    note: null,
    error: null,
    created_at: now,
    ended_at: null,
  }
}

/** With its job, in the caller's transaction; nothing when the job's key was used before. */
async function storeReconciliation(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: ReconciliationRow,
  key?: string,
): Promise<void> {
  const options = { scope, now: context.now(), traceId: scope.traceId, ...(key !== undefined && { key }) }
  const jobId = await enqueueJob(db, reconcile, { reconciliation_id: row.id }, options)
  if (jobId !== undefined) await insertReconciliation(db, row)
}
