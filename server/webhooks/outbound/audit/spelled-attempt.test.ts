import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { sql } from 'kysely'
import { createId } from '#core/ids.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { insertAttempts, listAttempts, type NewAttemptRow } from '../queries.ts'
import { leafOf } from './block.ts'
import { hashText } from './signature.ts'
import { spelledAttempt } from './spelled-attempt.ts'

const { database } = await createTestDatabase({ after })

const text = fc
  .string({ unit: 'binary', maxLength: 20 })
  .map((one) => one.toWellFormed().replaceAll('\0', ''))
const moment = fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: null })
const count = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const later = {
  lookup_ms: maybe(count),
  connect_ms: maybe(count),
  first_byte_ms: maybe(count),
  body_sha256: maybe(fc.constant('0a'.repeat(32))),
  version: maybe(count),
  signature: maybe(text),
  header_names: maybe(text),
}
const nothingLater = Object.fromEntries(Object.keys(later).map((field) => [field, null]))
const attempt: fc.Arbitrary<NewAttemptRow> = fc
  .record({
    delivery_id: text,
    event_id: text,
    endpoint_id: text,
    tenant_id: text,
    attempt: fc.integer({ min: 1, max: 32_767 }),
    outcome: fc.constantFrom('delivered', 'retry', 'dead', 'throttled'),
    status: maybe(fc.integer({ min: 100, max: 599 })),
    error: maybe(text),
    response: maybe(text),
    duration_ms: count,
    next_attempt_at: maybe(moment),
    attempted_at: moment,
    number: maybe(fc.nat(Number.MAX_SAFE_INTEGER)),
    ...later,
  })
  .chain((row) =>
    fc.constantFrom({ ...row, id: createId('att') }, { ...row, ...nothingLater, id: createId('att') }),
  )

/** As JSON escapes them, or not. */
const odd = `${Array.from({ length: 0x9f }, (_, index) => String.fromCharCode(index + 1)).join('')}\u2028\u2029\ufeff\ufffd😀`

test('PostgreSQL hashes an attempt as the verifier does, whatever is in it', async () => {
  const rows = fc.sample(attempt, 500).map((row, index) => (index === 0 ? { ...row, response: odd } : row))
  await insertAttempts(database.system, rows)
  const stored = await listAttempts(
    database.system,
    rows.map((row) => row.event_id),
  )
  const { rows: spelled } = await sql<{ id: string; spelled: string }>`
    select id, ${spelledAttempt} as spelled from delivery_attempts attempt order by id`.execute(
    database.system,
  )
  const leaves = spelled.map((one) => `${one.id} ${hashText(one.spelled)}`)
  const expected = stored.map((row) =>
    leafOf({ ...row, place: row.place ?? 0, body_sha256: row.body_sha256?.toString('hex') ?? null }),
  )
  assert.equal(leaves.length, rows.length)
  assert.deepEqual(leaves, expected)
})
