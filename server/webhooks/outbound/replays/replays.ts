import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { notFound, PipeError } from '#core/errors.ts'
import { runOnce } from '#core/idempotency.ts'
import { createId, timeOfId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { wakeWork } from '#jobs'
import type { Caller } from '#tenants'
import { ownerOfAnswers } from '../publish.ts'
import type { EndpointRow } from '../queries.ts'
import { forecastReplay } from './forecast.ts'
import {
  changeReplay,
  countOpenReplays,
  findReplay,
  insertReplay,
  listReplayEndpoints,
  listReplays,
  lockReplay,
  type ReplayEndpointRow,
  type ReplayRow,
  restartReplayEndpoints,
} from './queries.ts'
import { enqueueSteps } from './replay-job.ts'
import type { NewReplay, Replay, ReplayForecast, ReplaySummary } from './schema.ts'
import { selectFor, type Selection } from './selection.ts'

/** Open ones of a product and its tenants. */
const mostOpen = 50
/** Of one tenant, so that none takes them all. */
const mostOpenOfTenant = 10

interface ReplayOptions {
  traceId: string
  idempotencyKey: string | undefined
}

/** What a replay would send. */
export async function tryReplay(context: Context, caller: Caller, input: NewReplay): Promise<ReplayForecast> {
  const { selection, endpoints } = await selectFor(context, caller, input)
  return forecastReplay(context, selection, endpoints)
}

/** @throws PipeError 409 `replays_too_many` */
export async function startReplay(
  context: Context,
  caller: Caller,
  input: NewReplay,
  options: ReplayOptions,
): Promise<Replay> {
  const { selection, endpoints } = await selectFor(context, caller, input)
  const request = { key: options.idempotencyKey, operation: 'replays.start', request: input }
  const replay = await context.database.asSystem((db) =>
    runOnce(db, { tenantId: ownerOfAnswers(caller) }, request, () =>
      storeReplay(context, db, { selection, endpoints, traceId: options.traceId }),
    ),
  )
  wakeWork('job')
  return replay
}

async function requireFewOpen(db: Kysely<Tables>, selection: Selection): Promise<void> {
  const { product_id: productId, tenant_id: tenantId } = selection
  const ofTenant = tenantId === null ? 0 : await countOpenReplays(db, { productId, tenantId })
  const ofProduct = await countOpenReplays(db, { productId })
  if (ofTenant < mostOpenOfTenant && ofProduct < mostOpen) return
  const isTenants = ofTenant >= mostOpenOfTenant
  const message = `${isTenants ? mostOpenOfTenant : mostOpen} replays of this ${isTenants ? 'tenant' : 'product'} are open. Cancel one or wait for its end.`
  throw new PipeError('replays_too_many', 409, message)
}

async function storeReplay(
  context: Context,
  db: Kysely<Tables>,
  given: { selection: Selection; endpoints: readonly EndpointRow[]; traceId: string },
): Promise<Replay> {
  const { selection, endpoints, traceId } = given
  const now = context.now()
  await requireFewOpen(db, selection)
  const id = createId('rpl', now)
  const row = {
    ...selection,
    id,
    state: 'running' as const,
    trace_id: traceId,
    created_at: now,
    changed_at: now,
  }
  const parts = endpoints.map((endpoint) => ({
    replay_id: id,
    endpoint_id: endpoint.id,
    cursor: selection.first_id,
    step: 0,
    looked_at: 0,
    sent: 0,
    free_at: now,
    moved_at: now,
    waiting_for: null,
    error: null,
    ended_at: null,
  }))
  await insertReplay(db, row, parts)
  await enqueueSteps(db, row, parts, { runAt: now, now })
  return present(row, parts)
}

export async function getReplays(
  context: Context,
  caller: Caller,
  query: { limit: number; cursor?: string | undefined },
): Promise<Page<ReplaySummary>> {
  const before = decodeCursor(query.cursor)
  const { system } = context.database
  const rows = await listReplays(system, {
    ...(caller.kind !== 'admin' && { productId: caller.productId }),
    ...(caller.kind === 'tenant' && { tenantId: caller.tenantId }),
    ...(before !== undefined && { before }),
    limit: query.limit + 1,
  })
  const parts = Map.groupBy(
    await listReplayEndpoints(
      system,
      rows.map((row) => row.id),
    ),
    (part) => part.replay_id,
  )
  return toPage(rows, query.limit, (row) => summarize(row, parts.get(row.id) ?? []))
}

/** @throws PipeError 404 */
export async function getReplay(context: Context, caller: Caller, id: string): Promise<Replay> {
  const { system } = context.database
  const row = requireVisible(caller, id, await findReplay(system, id))
  return present(row, await listReplayEndpoints(system, [id]))
}

/**
 * A step under way ends first; none comes after it. Deliveries that were opened go on.
 * @throws PipeError 404; 409 `replay_ended`
 */
export async function pauseReplay(context: Context, caller: Caller, id: string): Promise<Replay> {
  return change(context, caller, id, 'paused')
}

/** Goes on where it stood; what had failed is tried again. @throws PipeError 404; 409 `replay_ended` */
export async function resumeReplay(context: Context, caller: Caller, id: string): Promise<Replay> {
  return change(context, caller, id, 'running')
}

/** For good. @throws PipeError 404; 409 `replay_ended` */
export async function cancelReplay(context: Context, caller: Caller, id: string): Promise<Replay> {
  return change(context, caller, id, 'canceled')
}

async function change(
  context: Context,
  caller: Caller,
  id: string,
  state: ReplayRow['state'],
): Promise<Replay> {
  const now = context.now()
  const changed = await context.database.asSystem(async (db) => {
    const row = requireVisible(caller, id, await lockReplay(db, id, 'change'))
    const parts = await listReplayEndpoints(db, [id])
    const current = stateOf(row, parts)
    // Asked twice, it is the same.
    if (current === state && !(state === 'running' && parts.some((part) => part.error !== null)))
      return present(row, parts)
    if (current === 'canceled' || current === 'done')
      throw new PipeError('replay_ended', 409, `This replay is ${current}. Start a new one.`)
    await changeReplay(db, id, state, now)
    const changedRow = { ...row, state, changed_at: now }
    if (state !== 'running') return present(changedRow, parts)
    await enqueueSteps(db, changedRow, await restartReplayEndpoints(db, id), { runAt: now, now })
    return present(changedRow, await listReplayEndpoints(db, [id]))
  })
  wakeWork('job')
  return changed
}

function requireVisible(caller: Caller, id: string, row: ReplayRow | undefined): ReplayRow {
  const visible =
    row !== undefined &&
    (caller.kind === 'admin' ||
      (caller.kind === 'product' ? row.product_id === caller.productId : row.tenant_id === caller.tenantId))
  if (!visible) throw notFound('replay', id)
  return row
}

function stateOf(row: ReplayRow, parts: readonly ReplayEndpointRow[]): ReplaySummary['state'] {
  if (row.state === 'canceled') return 'canceled'
  return parts.every((part) => part.ended_at !== null) ? 'done' : row.state
}

function summarize(row: ReplayRow, parts: readonly ReplayEndpointRow[]): ReplaySummary {
  const state = stateOf(row, parts)
  return {
    id: row.id,
    product_id: row.product_id,
    tenant_id: row.tenant_id,
    state,
    tenant_ids: row.tenant_ids,
    types: row.types,
    states: row.states,
    from: timeOfId(row.first_id).toISOString(),
    to: timeOfId(row.end_id).toISOString(),
    rate: row.per_second,
    looked_at: parts.reduce((sum, part) => sum + part.looked_at, 0),
    sent: parts.reduce((sum, part) => sum + part.sent, 0),
    created_at: row.created_at.toISOString(),
    ended_at: endOf(row, parts, state)?.toISOString() ?? null,
  }
}

function endOf(
  row: ReplayRow,
  parts: readonly ReplayEndpointRow[],
  state: ReplaySummary['state'],
): Date | undefined {
  if (state === 'canceled') return row.changed_at
  if (state !== 'done') return undefined
  return new Date(Math.max(...parts.map((part) => part.ended_at?.getTime() ?? 0)))
}

function present(row: ReplayRow, parts: readonly ReplayEndpointRow[]): Replay {
  return {
    ...summarize(row, parts),
    endpoints: parts.map((part) => ({
      endpoint_id: part.endpoint_id,
      looked_at: part.looked_at,
      sent: part.sent,
      at: timeOfId(part.cursor).toISOString(),
      waiting_for: part.waiting_for,
      error: part.error,
      ended_at: part.ended_at?.toISOString() ?? null,
    })),
  }
}
