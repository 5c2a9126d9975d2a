import type { Context } from '#core/context.ts'
import { invalidRequest } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import type { EventType } from '#core/module.ts'
import { systemErrorCode } from '#core/system-error.ts'
import { findLastNumber, type Numbers, numberSeries, removeFromSeries } from '#jobs'
import type { Caller } from '#tenants'
import { requireEndpoint } from '../endpoints.ts'
import { type NewAttemptRow, insertAttempts } from '../queries.ts'
import { type Shapes, shapeFor } from '../versions/shape.ts'
import { findPosition, listNumbered, movePosition, type NumberedRow, readShapes } from './queries.ts'
import type { Acknowledged, Acknowledgement, Feed, FeedEntry, FeedQuery } from './schema.ts'

const mostBytes = 4 * 1024 * 1024
const mostPerTransaction = 1_000

/** What an endpoint is sent, in the order of its numbers; what was never tried gets its number here. */
export async function readFeed(
  context: Context,
  caller: Caller,
  endpointId: string,
  query: FeedQuery,
  types: readonly EventType[],
): Promise<Feed> {
  const { versions } = await requireEndpoint(context, caller, endpointId)
  const db = context.database.system
  const acknowledgedThrough = await findPosition(db, endpointId)
  const after = query.after ?? acknowledgedThrough
  const rows = await listOrNumber(context, endpointId, after, query.limit)
  const events = await readShapes(
    db,
    rows.map((row) => row.event_id),
    mostBytes,
  )
  const data = rows.flatMap((row, index) => {
    const event = events[index]
    // It waits for the next page.
    if (event === undefined) return []
    return [present(row, event === null ? undefined : shapeFor(versions, event, types))]
  })
  return {
    data,
    next_after: data.at(-1)?.sequence ?? after,
    last_sequence: await findLastNumber(db, endpointId),
    acknowledged_through: acknowledgedThrough,
  }
}

async function listOrNumber(
  { database }: Context,
  endpointId: string,
  after: number,
  limit: number,
): Promise<NumberedRow[]> {
  const rows = await listNumbered(database.system, endpointId, after, limit)
  if (rows.length >= limit) return rows
  const fresh = await numberSeries(database.system, 'delivery', endpointId, limit - rows.length)
  return fresh === 0 ? rows : listNumbered(database.system, endpointId, after, limit)
}

function present(row: NumberedRow, shape: Shapes | undefined): FeedEntry {
  return {
    sequence: row.number,
    event_id: row.event_id,
    state: stateOf(row),
    delivered_at: row.delivered_at?.toISOString() ?? null,
    acknowledged_at: row.acknowledged_at?.toISOString() ?? null,
    attempts: row.attempts,
    version: shape?.version ?? null,
    body: shape === undefined ? null : (JSON.parse(shape.body) as Record<string, unknown>),
  }
}

function stateOf(row: NumberedRow): FeedEntry['state'] {
  if (row.is_open) return 'pending'
  if (row.acknowledged_at !== null) return 'acknowledged'
  return row.is_dead ? 'dead' : 'delivered'
}

/** Ends the open deliveries of what the receiver has taken. A call under way can't be called back; it is the last. */
export async function acknowledge(
  context: Context,
  caller: Caller,
  endpointId: string,
  input: Acknowledgement,
): Promise<Acknowledged> {
  await requireEndpoint(context, caller, endpointId)
  const { system } = context.database
  requireGiven(input, await findLastNumber(system, endpointId))
  const { through, sequences = [] } = input
  const which = through === undefined ? { numbers: sequences } : { through }
  let ended = 0
  for (let count = mostPerTransaction; count === mostPerTransaction; ended += count) {
    count = await endDeliveries(context, endpointId, which)
  }
  if (through !== undefined) await movePosition(system, endpointId, through, context.now())
  return { acknowledged_through: await findPosition(system, endpointId), ended }
}

/** A number that was not given yet can't have been taken: acknowledging ahead would hide what comes. */
function requireGiven({ through, sequences }: Acknowledgement, last: number): void {
  const given = sequences ?? [through ?? 0]
  const errors = given.flatMap((sequence, index) => {
    const field = sequences === undefined ? 'through' : `sequences.${index}`
    return sequence > last ? [{ field, message: `is above ${last}, the last sequence of this endpoint` }] : []
  })
  if (errors.length > 0)
    throw invalidRequest('Nothing was acknowledged: there are no such sequences yet.', errors)
}

const mostTries = 5
const deadlockDetected = '40P01'

/** Where order is kept, a worker that ends some of them locks in another order: the database may end one of both. */
async function endDeliveries(context: Context, endpointId: string, which: Numbers): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await endSome(context, endpointId, which)
    } catch (error) {
      if (systemErrorCode(error) !== deadlockDetected || tries === mostTries) throw error
    }
  }
}

/** A delivery and the record of its end change in one transaction. */
async function endSome(context: Context, endpointId: string, which: Numbers): Promise<number> {
  const now = context.now()
  return context.database.asSystem(async (db) => {
    const removed = await removeFromSeries(db, 'delivery', endpointId, which, mostPerTransaction)
    const rows = removed.map((work): NewAttemptRow => {
      return {
        id: createId('att', now),
        delivery_id: work.id,
        event_id: work.ref,
        endpoint_id: endpointId,
        tenant_id: work.tenant_id ?? '',
        attempt: 0,
        outcome: 'acknowledged',
        status: null,
        error: null,
        response: null,
        duration_ms: 0,
        next_attempt_at: null,
        attempted_at: now,
        number: work.number,
      }
    })
    await insertAttempts(db, rows)
    return rows.length
  })
}
