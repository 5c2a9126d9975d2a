import { type Kysely, type RawBuilder, sql } from 'kysely'
import type { OutboundTables } from '../tables.ts'
import { type BodyFilter, compileFilter } from './body-filter.ts'

/** What `endpoints` hold of a filter. */
export function filterColumns(filter: BodyFilter | null): {
  filter: string | null
  filter_path: string | null
} {
  return filter === null
    ? { filter: null, filter_path: null }
    : { filter: JSON.stringify(filter), filter_path: compileFilter(filter) }
}

/** Of endpoints: there is no filter, or the body matches it. */
export function letsThrough(body: string): RawBuilder<boolean> {
  return sql<boolean>`case when filter_path is null then true else event_matches(${body}, filter_path) end`
}

/** Which of these events pass the filter. */
export async function findMatching(
  db: Kysely<OutboundTables>,
  eventIds: readonly string[],
  path: string,
): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    select id from events where id = any (${eventIds}) and event_matches(body, ${path}::jsonpath)`.execute(db)
  return new Set(rows.map(({ id }) => id))
}

/** Whether the body fulfils each of these, in their order: by the same function that fans events out. */
export async function matchPaths(
  db: Kysely<OutboundTables>,
  body: string,
  paths: readonly string[],
): Promise<boolean[]> {
  const { rows } = await sql<{ matches: boolean }>`
    select event_matches(${body}, given.path::jsonpath) as matches
    from unnest(${paths}::text[]) with ordinality as given (path, place)
    order by given.place`.execute(db)
  return rows.map(({ matches }) => matches)
}
