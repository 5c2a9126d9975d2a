import { type Kysely, sql } from 'kysely'
import type { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Database, Tables, TenantScope } from '#core/database.ts'
import { isRefusal } from '#core/database-refusal.ts'
import { type FieldError, invalidRequest, type PipeError } from '#core/errors.ts'
import { createGroup } from '#core/grouped.ts'
import { runOnce } from '#core/idempotency.ts'
import { wakeWork } from '#jobs'
import { type Caller, scopeFor, scopesFor } from '#tenants'
import { findCheckedType } from './checked-types.ts'
import { toEventRow } from './events.ts'
import { checkData, createCheckBudget } from './json-schema.ts'
import { measureBatch } from './metrics/deliveries.ts'
import { callRecordEvents, findEvent, type WholeEvent } from './queries.ts'
import { maxBatch, OwnEvent, OwnEvents, type PublishedEvents } from './schema.ts'
import { findOlderFaults, type Given } from './versions/older-shapes.ts'

const maxEventBytes = 256 * 1024
const mostFaultsTold = 1_000
const firstTime = new Date('2000-01-01T00:00:00Z')
/** Clocks of callers may be ahead. */
const mostAheadMs = 24 * 60 * 60 * 1000

export interface PublishOptions {
  traceId: string
  idempotencyKey?: string | undefined
}

/**
 * Takes one event of a product, or `{ events }`, and answers once all of them are stored with their deliveries.
 * @throws PipeError 404 for the tenant of a single event, else `request_invalid` with every fault of every event
 */
export async function publishEvents(
  context: Context,
  caller: Caller,
  body: unknown,
  options: PublishOptions,
): Promise<PublishedEvents> {
  const isBatch = typeof body === 'object' && body !== null && 'events' in body
  const rows = isBatch
    ? await readBatchRows(context, caller, body, options)
    : [await readRow(context, caller, body, options)]
  const [row] = rows
  const { idempotencyKey: key } = options
  let ids = rows.map(({ id }) => id)
  if (key !== undefined) {
    const owner = isBatch ? ownerOfAnswers(caller) : (row?.tenant_id ?? '')
    ids = await storeUnderKey(context, rows, { owner, key, request: body })
  } else if (isBatch) await recordRowsOnce(context, rows, onItsOwn)
  else if (row !== undefined) await storeEvent(context, row)
  wakeWork('delivery')
  const data = ids.map((id) => ({ id }))
  return isBatch ? { data } : { id: ids[0] ?? '' }
}

async function readRow(
  context: Context,
  caller: Caller,
  body: unknown,
  { traceId }: PublishOptions,
): Promise<WholeEvent> {
  const given = readEvent(body)
  const tenantId = given.event.tenant_id
  const scope = await scopeFor(context, caller, tenantId, traceId)
  const faults: FieldError[] = []
  const [row] = await makeRows(context, [given], new Map([[tenantId, scope]]), faults)
  if (row === undefined || faults.length > 0) throw refusal(faults)
  return row
}

async function readBatchRows(
  context: Context,
  caller: Caller,
  body: object,
  { traceId }: PublishOptions,
): Promise<WholeEvent[]> {
  const faults: FieldError[] = []
  const given = readBatch(body, faults)
  const tenantIds = given.map(({ event }) => event.tenant_id)
  const scopes = await scopesFor(context, caller, tenantIds, traceId)
  const rows = await makeRows(context, given, scopes, faults)
  if (faults.length > 0) throw refusal(faults)
  return rows
}

function readBatch(body: object, faults: FieldError[]): Given[] {
  const told = OwnEvents.safeParse(body)
  if (told.success) return told.data.events.map((event, index) => ({ prefix: prefixOf(index), event }))
  faults.push(...toFaults(told.error))
  const { events } = body as { events: unknown }
  if (!Array.isArray(events)) return []
  // Those that are well formed are still checked on, so that all faults are told at once.
  return events.slice(0, maxBatch).flatMap((one: unknown, index) => {
    const { data: event } = OwnEvent.safeParse(one)
    return event === undefined ? [] : [{ prefix: prefixOf(index), event }]
  })
}

function prefixOf(index: number): string {
  return `events.${index}.`
}

function readEvent(body: unknown): Given {
  const told = OwnEvent.safeParse(body)
  if (told.success) return { prefix: '', event: told.data }
  throw refusal(toFaults(told.error))
}

function toFaults(error: z.ZodError): FieldError[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map(String)
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ field: [...path, key].join('.'), message: 'is not a field here' }))
    }
    return [{ field: path.join('.') || 'body', message: issue.message }]
  })
}

function refusal(faults: readonly FieldError[]): PipeError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`
  return invalidRequest(
    `Nothing was published: the request has ${count}; see errors.`,
    faults.slice(0, mostFaultsTold),
  )
}

/** Turns events into rows; what is wrong with them joins the faults. */
async function makeRows(
  context: Context,
  given: readonly Given[],
  scopes: ReadonlyMap<string, TenantScope>,
  faults: FieldError[],
): Promise<WholeEvent[]> {
  const now = context.now()
  const budget = createCheckBudget()
  const rows: WholeEvent[] = []
  for (const one of given) {
    const { prefix, event } = one
    const scope = scopes.get(event.tenant_id)
    if (scope === undefined) {
      faults.push({ field: `${prefix}tenant_id`, message: 'names no tenant that this key may act for' })
      continue
    }
    faults.push(...findTimeFaults(event, prefix, now))
    const type = await findCheckedType(context, scope.productId, event.type, event.version)
    if (type === undefined) {
      faults.push(unknownType(prefix, event))
      continue
    }
    faults.push(...checkData(type.schema, event.data, `${prefix}data`, budget))
    faults.push(...(await findOlderFaults(context, scope.productId, one, type, budget)))
    const row = toRow(scope, event, type.version, now)
    faults.push(...findSizeFaults(row, prefix))
    rows.push(row)
  }
  return rows
}

function findTimeFaults({ occurred_at: told }: OwnEvent, prefix: string, now: Date): FieldError[] {
  if (told === undefined) return []
  const occurredAt = new Date(told)
  const isBetween = occurredAt >= firstTime && occurredAt.getTime() <= now.getTime() + mostAheadMs
  if (isBetween) return []
  return [{ field: `${prefix}occurred_at`, message: 'is before 2000 or more than a day from now' }]
}

function toRow(scope: TenantScope, event: OwnEvent, version: number, now: Date): WholeEvent {
  const { type, entity, data, older = {} } = event
  const occurredAt = event.occurred_at === undefined ? now : new Date(event.occurred_at)
  return toEventRow(scope, { type, version, entity, data, older, occurredAt }, now)
}

function findSizeFaults({ body, older }: WholeEvent, prefix: string): FieldError[] {
  const most = `more than ${maxEventBytes / 1024} KiB`
  const faults: FieldError[] = []
  if (isTooLong(body)) faults.push({ field: `${prefix}data`, message: `makes an event of ${most}` })
  if (isTooLong(older ?? ''))
    faults.push({ field: `${prefix}older`, message: `makes events of ${most} together` })
  return faults
}

/** Bytes are only counted where there may be enough: three for each of its units at most. */
function isTooLong(text: string): boolean {
  return text.length * 3 > maxEventBytes && Buffer.byteLength(text) > maxEventBytes
}

function unknownType(prefix: string, { type, version }: OwnEvent): FieldError {
  return version === undefined
    ? {
        field: `${prefix}type`,
        message: `is not in the catalogue; register it: PUT /webhooks/catalog/${type}`,
      }
    : { field: `${prefix}version`, message: `is no version of ${type} in the catalogue` }
}

/** Under whom an answer is remembered that is not of one tenant. No tenant has such an id. */
export function ownerOfAnswers(caller: Caller): string {
  if (caller.kind === 'tenant') return caller.tenantId
  return caller.kind === 'product' ? `product:${caller.productId}` : 'platform:'
}

/** An answer that is remembered under a key is written with the events; without one it costs no transaction. */
async function storeUnderKey(
  context: Context,
  rows: readonly WholeEvent[],
  once: { owner: string; key: string; request: unknown },
): Promise<string[]> {
  const request = { key: once.key, operation: 'events.publish', request: once.request }
  return context.database.asSystem((db) =>
    runOnce(db, { tenantId: once.owner }, request, async () => {
      await recordRows(context, db, rows)
      return rows.map(({ id }) => id)
    }),
  )
}

async function recordRows(context: Context, db: Kysely<Tables>, rows: readonly WholeEvent[]): Promise<void> {
  await sql`select ${callRecordEvents(rows, context.now())}`.execute(db)
  measureBatch(context, rows.length)
}

const mostPerStatement = 256
/** More would cost the database little less each, and leave it idle while they come. */
const enoughForOne = 64
/** While the database stores some, the next ones are read and sent behind them. */
const enoughBeside = 16
const stores = new WeakMap<Context, (row: WholeEvent) => Promise<void>>()

/** Events that arrive while a commit runs share the next one. */
function storeEvent(context: Context, row: WholeEvent): Promise<void> {
  const known = stores.get(context)
  if (known !== undefined) return known(row)
  const store = createGroup<WholeEvent, void>({
    maxSize: mostPerStatement,
    inFlight: 2,
    leastBeside: enoughBeside,
    gathers: enoughForOne,
    quietTurns: 3,
    flush: async (rows, isAgain) => {
      // Behind each other each of them could wait as long as a statement may take.
      await recordRowsOnce(context, rows, isAgain ? onItsOwn : behindOthers)
      return rows.map(() => undefined)
    },
  })
  stores.set(context, store)
  return store(row)
}

type Asking = (database: Database, statement: (db: Kysely<Tables>) => Promise<void>) => Promise<void>

const behindOthers: Asking = (database, statement) => database.asSystemPipelined(statement)
const onItsOwn: Asking = (database, statement) => statement(database.system)

/**
 * Where only the answer of the database may have been lost, they are recorded again: that also waits for a commit that
 * still goes on. A group that fails all the same is tried again one by one.
 */
async function recordRowsOnce(
  context: Context,
  rows: readonly WholeEvent[],
  ask: Asking,
  isAgain = false,
): Promise<void> {
  try {
    await ask(context.database, (db) => recordRows(context, db, rows))
  } catch (error) {
    if (await areStored(context, rows, error)) measureBatch(context, rows.length)
    else if (isAgain || isRefusal(error)) throw error
    else await recordRowsOnce(context, rows, ask, true)
  }
}

const uniqueViolation = '23505'

/** Nobody else makes the id of an event, and those of one statement are stored all or none. */
async function areStored(context: Context, rows: readonly WholeEvent[], error: unknown): Promise<boolean> {
  const [row] = rows
  if (row === undefined || !isRefusal(error) || error.code !== uniqueViolation) return false
  return (await findEvent(context.database.system, row.id)) !== undefined
}
