import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import type { Context } from '#core/context.ts'
import type { Database } from '#core/database.ts'
import { createMetrics } from '#core/metrics/metrics.ts'
import { platformLane } from '../queries.ts'
import type { WorkItem, WorkKind, WorkResult } from '../work.ts'
import { createWorkLoop, type WorkLoop, type WorkLoopOptions } from '../work-loop.ts'

export const silent = pino({ level: 'silent' })

/** A clock that only the test moves. */
export function createClock(start = new Date()) {
  let now = start.getTime()
  return {
    now: () => new Date(now),
    advance: (milliseconds: number) => {
      now += milliseconds
    },
  }
}

const longestWaitMs = 60_000

/** Waits for a state of the world. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + longestWaitMs
  while (!(await condition())) {
    if (performance.now() > end)
      throw new Error(`After ${longestWaitMs / 1000} s: still not ${String(condition)}`)
    await delay(5)
  }
}

/** A run that ends only when it is told to stop. */
export function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

export interface WorkSeed {
  id: string
  lane?: string
  kind?: WorkKind
  runAt?: Date
  tenantId?: string
  series?: string
  orderKey?: string
}

export async function addWork(database: Database, items: readonly WorkSeed[]): Promise<void> {
  const rows = items.map((item) => ({
    id: item.id,
    kind: item.kind ?? 'delivery',
    lane: item.lane ?? platformLane,
    tenant_id: item.tenantId ?? null,
    product_id: item.tenantId === undefined ? null : 'product',
    ref: item.id,
    run_at: item.runAt ?? new Date(Date.now() - 1000),
    lease_until: null,
    attempts: 0,
    token: null,
    series: item.series ?? null,
    order_key: item.orderKey ?? null,
    number: null,
  }))
  for (let start = 0; start < rows.length; start += 1000) {
    await database.system
      .insertInto('work')
      .values(rows.slice(start, start + 1000))
      .execute()
  }
}

/** `count` items of one lane, their ids in the lane's order. */
export function itemsOf(lane: string, count: number): WorkSeed[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `${lane}-${String(index).padStart(5, '0')}`,
    lane,
  }))
}

export async function countWork(database: Database): Promise<number> {
  const { count } = await database.system
    .selectFrom('work')
    .select((select) => select.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  return count
}

export function readWork(database: Database, id: string) {
  return database.system.selectFrom('work').selectAll().where('id', '=', id).executeTakeFirst()
}

export interface Test {
  after(work: () => Promise<void>): void
}

export type StartLoop = (
  test: Test,
  database: Database,
  run: (item: WorkItem, signal: AbortSignal) => Promise<WorkResult>,
  options?: Partial<WorkLoopOptions>,
) => WorkLoop

/** A claim that is under way ends first: it would take what the next test adds. */
export const stopGraceMs = 200

/** A started loop over `delivery` work that ends with the test. */
export const startLoop: StartLoop = (test, database, run, options) => {
  const loop = createWorkLoop({
    ...loopOptions(database),
    ...options,
    run: (item, { signal }) => run(item, signal),
  })
  test.after(() => loop.stop(stopGraceMs))
  loop.start()
  return loop
}

export function loopOptions(database: Database) {
  return { database, kind: 'delivery' as const, leaseSeconds: 30, log: silent, now: () => new Date() }
}

/** The part of a context that jobs need. */
export function createJobContext(database: Database, now: () => Date): Context {
  const metrics = createMetrics({ serviceName: 'test', now, log: silent })
  return { database, now, log: silent, metrics } as Context
}
