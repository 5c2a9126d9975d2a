import { type RawBuilder, sql } from 'kysely'
import { laterFields, provenFields } from './block.ts'

type Field = (typeof provenFields)[number] | (typeof laterFields)[number]

/** Of a row `attempt`: what `leafOf` hashes, letter by letter as JavaScript writes it. */
export const spelledAttempt = spellRow()

function spellRow(): RawBuilder<string> {
  const proven = sql.join(provenFields.map(spellField))
  const later = sql.join(laterFields.map(spellField))
  const isEarly = sql`num_nonnulls(${sql.join(laterFields.map(columnOf))}) = 0`
  return sql<string>`array_to_json(array[${proven}] || case when ${isEarly} then '{}' else array[${later}] end)::text`
}

function spellField(field: Field): RawBuilder<unknown> {
  const column = columnOf(field)
  switch (field) {
    case 'next_attempt_at':
    case 'attempted_at':
      return sql`to_json(to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`
    case 'body_sha256':
      return sql`to_json(encode(${column}, 'hex'))`
    default:
      return sql`to_json(${column})`
  }
}

function columnOf(field: Field): RawBuilder<unknown> {
  return sql`${sql.ref(`attempt.${field}`)}`
}
