import { type Kysely, type RawBuilder, sql } from 'kysely'
import { columnArray, textArray, timestampArray, uuidArray } from '#core/sql-arrays.ts'
import type { JobsTables } from './tables.ts'
import type { Claim, SeriesLimits, WorkItem, WorkKind, WorkResult } from './work.ts'

type Db = Kysely<JobsTables>

export interface ClaimRequest {
  kind: WorkKind
  /** The claim starts with this lane or the first one behind it; '' is the beginning. */
  from: string
  total: number
  perLane: number
  /** All lanes of one series together. Default: no limit of its own. */
  perSeries?: number
  /** Rows that these lanes and series may get instead. */
  rooms: ReadonlyMap<string, number>
  /** Lanes behind which their series begin, by series. */
  behind?: ReadonlyMap<string, string>
  /** Rows of lanes of what is tried again. Default: no limit of its own. */
  retries?: number
  /** Lanes of these up to this one are left out. */
  retriesBehind?: string
  token: string
  leaseSeconds: number
  now: Date
  /** This loop: of series with limits only its own are claimed. */
  worker?: string
  /** In these lanes the claim begins with what is due since then. */
  floors?: ReadonlyMap<string, Date>
}

export interface ClaimAnswer {
  claims: Claim[]
  /** Where the next claim starts. */
  from: string
  /** Every lane was looked at. */
  complete: boolean
  /** Work was moved so that another claim finds more. */
  stirred: boolean
  /** Series with limits that were left out because nobody owns them. */
  ownable: string[]
}

interface ClaimRow {
  id: string | null
  lane: string
  tenant_id: string | null
  product_id: string | null
  ref: string
  run_at: Date
  attempts: number
  series: string | null
  number: number | null
  ordered: boolean
  most_running: number | null
  per_second: number | null
  next_from: string
  complete: boolean
  stirred: boolean
  ownable: string[] | null
}

/** Lanes looked at by one claim: bounds its cost, the next one goes on from there. */
const lanesPerClaim = 256

export async function claimWork(db: Db, request: ClaimRequest): Promise<ClaimAnswer> {
  const claimedAt = performance.now()
  const { rows } = await sql<ClaimRow>`
    select id, lane, tenant_id, product_id, ref, run_at, attempts, series, number, ordered, most_running,
      per_second, next_from, complete, stirred, ownable
    from claim_work(
    ${request.kind}, ${request.from}, ${lanesPerClaim}, ${request.total}, ${request.perLane},
    ${request.perSeries ?? request.total}, ${toObject(request.rooms)}, ${toObject(request.behind)},
    ${request.retries ?? request.total}, ${request.retriesBehind ?? ''},
    ${request.token}, ${request.leaseSeconds}, ${request.now}, ${request.worker ?? null},
    ${toObject(request.floors)})`.execute(db)
  const claims = rows.flatMap((row) =>
    row.id === null
      ? []
      : [{ item: toItem(request.kind, row.id, row), limits: limitsOf(row), token: request.token, claimedAt }],
  )
  const [first] = rows
  return {
    claims,
    from: first?.next_from ?? '',
    complete: first?.complete ?? true,
    stirred: first?.stirred ?? false,
    ownable: first?.ownable ?? [],
  }
}

function toObject(map: ReadonlyMap<string, unknown> = new Map()): string {
  return JSON.stringify(Object.fromEntries(map))
}

function limitsOf({ most_running: mostRunning, per_second: perSecond }: ClaimRow): SeriesLimits | undefined {
  return mostRunning === null && perSecond === null ? undefined : { mostRunning, perSecond }
}

function toItem(kind: WorkKind, id: string, row: ClaimRow): WorkItem {
  return {
    id,
    kind,
    lane: row.lane,
    tenantId: row.tenant_id,
    productId: row.product_id,
    ref: row.ref,
    runAt: row.run_at,
    attempt: row.attempts,
    series: row.series,
    number: row.number,
    ordered: row.ordered,
  }
}

export interface HeldRow {
  id: string
  token: string
}

/** @returns whether each claim was still held. */
export async function extendWork(db: Db, claims: readonly Claim[], leaseSeconds: number): Promise<boolean[]> {
  const sorted = sortById(claims, (claim) => claim.item.id)
  const { rows } = await sql<HeldRow>`select id, token from extend_work(
    ${sorted.map((claim) => claim.item.id)}, ${sorted.map((claim) => claim.token)}, ${leaseSeconds})`.execute(
    db,
  )
  return areHeld(
    claims.map((claim) => ({ claim })),
    rows,
  )
}

export interface Ending {
  claim: Claim
  /** `release`: as it was before the claim. `abandon`: the attempt may have had effect and counts. */
  result: WorkResult | { kind: 'release' } | { kind: 'abandon' }
}

/** @returns whether each claim was still held; nothing was done to the others. */
export async function finishWork(db: Db, endings: readonly Ending[], now: Date): Promise<boolean[]> {
  const { rows } = await sql<HeldRow>`
    select id, token from finish_work(${finishArguments(endings, now)})`.execute(db)
  return areHeld(endings, rows)
}

/** What the function `finish_work` is called with: see `migrations/0012_finish_by_key.sql`. */
export function finishArguments(endings: readonly Ending[], now: Date): RawBuilder<unknown> {
  const rows = sortById(endings, (ending) => ending.claim.item.id).map(toFinishRow)
  return sql`${textArray(rows.map((row) => row.id))}::text[],
    ${uuidArray(rows.map((row) => row.token))}::uuid[], ${textArray(rows.map((row) => row.outcome))}::text[],
    ${columnArray(
      timestampArray,
      rows.map((row) => row.runAt),
    )}::timestamptz[],
    ${columnArray(
      textArray,
      rows.map((row) => row.error),
    )}::text[], ${now}::timestamptz`
}

function toFinishRow({ claim, result }: Ending) {
  return {
    id: claim.item.id,
    token: claim.token,
    outcome: outcomeOf(result),
    runAt: result.kind === 'retry' ? result.runAt : null,
    // PostgreSQL's text holds no NUL.
    error: result.kind === 'dead' ? result.error.replaceAll('\0', '') : null,
  }
}

function outcomeOf(result: Ending['result']): 'done' | 'dead' | 'retry' | 'release' {
  if (result.kind === 'abandon') return 'retry'
  if (result.kind === 'retry' && !result.counts) return 'release'
  return result.kind
}

export function areHeld(ended: ReadonlyArray<{ claim: Claim }>, rows: readonly HeldRow[]): boolean[] {
  const held = new Set(rows.map((row) => `${row.id} ${row.token}`))
  return ended.map(({ claim }) => held.has(`${claim.item.id} ${claim.token}`))
}

/** Statements that lock several rows do so in one order, or two of them could wait for each other. */
function sortById<Entry>(entries: readonly Entry[], idOf: (entry: Entry) => string): Entry[] {
  return entries.toSorted((left, right) => (idOf(left) < idOf(right) ? -1 : 1))
}

/** @throws while the database does not answer. */
export async function probe(db: Db): Promise<void> {
  await sql`select 1`.execute(db)
}

/** Must run outside a transaction. Before PostgreSQL 17 only an owner may: then it does nothing. */
export async function vacuumWork(db: Db): Promise<void> {
  await sql`vacuum (skip_locked, index_cleanup on, truncate off) work`.execute(db)
}

/**
 * A series with limits is worked on by one loop at a time, which counts in memory.
 * @returns which of them are now its own, for so many seconds; the others have no limits or belong to another
 */
export async function ownSeries(
  db: Db,
  worker: string,
  series: readonly string[],
  seconds: number,
): Promise<string[]> {
  const { rows } = await sql<{ series: string }>`
    select series from own_series(${worker}, ${series}, ${seconds}) as own (series)`.execute(db)
  return rows.map((row) => row.series)
}

/** Lets other processes go on with the series that this one worked on. */
export async function disownSeries(db: Db, worker: string): Promise<void> {
  await db
    .updateTable('work_series')
    .set({ owner: null, owner_until: null })
    .where('owner', '=', worker)
    .execute()
}

export interface SeriesChange {
  /** Nothing of it is claimed before, nor before the end of a longer pause under way; null ends any. */
  pausedUntil?: Date | null
  mostRunning?: number | null
  perSecond?: number | null
}

/** Pauses a series or changes its limits; what is not named stays. */
export async function changeSeries(db: Db, series: string, change: SeriesChange): Promise<void> {
  const columns = {
    ...(change.pausedUntil !== undefined && { paused_until: change.pausedUntil }),
    ...(change.mostRunning !== undefined && { most_running: change.mostRunning }),
    ...(change.perSecond !== undefined && { per_second: change.perSecond }),
  }
  const empty = { paused_until: null, most_running: null, per_second: null, owner: null, owner_until: null }
  await db
    .insertInto('work_series')
    .values({ series, ...empty, ...columns })
    .onConflict((conflict) =>
      conflict.column('series').doUpdateSet({
        series,
        ...columns,
        ...(change.pausedUntil && {
          paused_until: sql<Date>`greatest(work_series.paused_until, excluded.paused_until)`,
        }),
      }),
    )
    .execute()
}
