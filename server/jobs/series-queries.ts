import { type Kysely, sql } from 'kysely'
import type { JobsTables } from './tables.ts'
import type { WorkKind } from './work.ts'

type Db = Kysely<JobsTables>

/** Numbers up to `most` pieces of work of a series that wait for their first claim. @returns how many there were. */
export async function numberSeries(db: Db, kind: WorkKind, series: string, most: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select number_work(${kind}, ${series}, ${most}) as count`.execute(db)
  return rows[0]?.count ?? 0
}

/** The highest number that was given in a series. */
export async function findLastNumber(db: Db, series: string): Promise<number> {
  const row = await db
    .selectFrom('work_series')
    .select('last_number')
    .where('series', '=', series)
    .executeTakeFirst()
  return row?.last_number ?? 0
}

/** Numbers of work: all up to one, or a list. */
export type Numbers = { through: number } | { numbers: readonly number[] }

export interface RemovedWork {
  id: string
  ref: string
  tenant_id: string | null
  number: number
}

/** Ends open work of a series without its having run, `most` at a time; a run under way is fenced off. */
export async function removeFromSeries(
  db: Db,
  kind: WorkKind,
  series: string,
  which: Numbers,
  most: number,
): Promise<RemovedWork[]> {
  const through = 'through' in which ? which.through : null
  const numbers = 'numbers' in which ? which.numbers : []
  const { rows } = await sql<RemovedWork>`
    select * from remove_work(${kind}, ${series}, ${through}, ${numbers}::bigint[], ${most})`.execute(db)
  return rows
}
