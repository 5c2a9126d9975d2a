import { z } from 'zod'
import { invalidRequest } from './errors.ts'

/** Query fields of every list. A cursor is opaque to callers: it names the last row they have seen. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(200).optional().meta({ description: '`next_cursor` of the page before.' }),
}

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ data: z.array(item), next_cursor: z.string().nullable() })
}

export interface Page<Item> {
  data: Item[]
  next_cursor: string | null
}

function encodeCursor(id: string): string {
  return Buffer.from(id).toString('base64url')
}

/** @throws PipeError `request_invalid` for a cursor that no list of ours gave out. */
export function decodeCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined
  const id = Buffer.from(cursor, 'base64url').toString('utf8')
  if (!/^[a-z0-9_-]{2,80}$/.test(id)) {
    throw invalidRequest('The cursor is not one of this list.', [
      { field: 'cursor', message: 'is malformed' },
    ])
  }
  return id
}

/** Makes a page of rows that were fetched with `limit + 1`. */
export function toPage<Row extends { id: string }, Item>(
  rows: readonly Row[],
  limit: number,
  present: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { data: shown.map(present), next_cursor: rows.length > limit && last ? encodeCursor(last.id) : null }
}
