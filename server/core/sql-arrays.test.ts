import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import {
  bigintArray,
  bufferArray,
  byteaArray,
  columnArray,
  integerArray,
  smallintArray,
  textArray,
  timestampArray,
  uuidArray,
} from './sql-arrays.ts'
import { createTestDatabase } from './testing/database.ts'

const { database } = await createTestDatabase({ after })

async function comeBack(type: string, array: Buffer): Promise<unknown[]> {
  const { rows } = await sql<{ back: unknown }>`
    select back from unnest(${array}::${sql.raw(type)}[]) with ordinality as given (back, place)
    order by place`.execute(database.system)
  return rows.map(({ back }) => back)
}

test('texts arrive as they were, whatever is in them', async () => {
  const texts = ['', 'plain', 'NULL', null, '{"a":"b\\\\c"}', 'ñandú 🥘', ' , ', '\n', 'x'.repeat(100_000)]
  assert.deepEqual(await comeBack('text', textArray(texts)), texts)
})

test('moments arrive to the millisecond, from before 2000 too', async () => {
  const moments = ['1969-12-31T23:59:59.999Z', '2000-01-01T00:00:00.000Z', '2026-11-29T21:30:00.123Z']
  const dates = [...moments.map((moment) => new Date(moment)), null, new Date('0001-01-01T00:00:00Z')]
  assert.deepEqual(await comeBack('timestamptz', timestampArray(dates)), dates)
})

test('numbers arrive up to the ends of their types', async () => {
  const small = [0, 1, -1, null, 32_767, -32_768]
  assert.deepEqual(await comeBack('smallint', smallintArray(small)), small)
  const whole = [0, -1, null, 2_147_483_647, -2_147_483_648]
  assert.deepEqual(await comeBack('integer', integerArray(whole)), whole)
  const big = [0, 1, -1, null, 2 ** 32, -(2 ** 32) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]
  assert.deepEqual(await comeBack('bigint', bigintArray(big)), big)
})

test('bytes and ids of 16 bytes arrive as they were', async () => {
  const bytes = [Buffer.from([0, 255, 34, 92]), null, Buffer.alloc(0)]
  const inHex = bytes.map((value) => value?.toString('hex') ?? null)
  assert.deepEqual(await comeBack('bytea', byteaArray(inHex)), bytes)
  const part = Buffer.from('a long body, of which a part is read').subarray(2, 11)
  const whole = [...bytes, part, Buffer.alloc(100_000, 255)]
  assert.deepEqual(await comeBack('bytea', bufferArray(whole)), whole)
  const ids = ['00000000-0000-4000-8000-00000000abcd', null]
  assert.deepEqual(await comeBack('uuid', uuidArray(ids)), ids)
})

test('an empty array is one', async () => {
  assert.deepEqual(await comeBack('text', textArray([])), [])
})

test('a column of nulls is filled up beside the others', async () => {
  const { rows } = await sql`
    select * from unnest(${columnArray(textArray, ['a', 'b'])}::text[],
      ${columnArray(integerArray, [null, null])}::int[], ${columnArray(integerArray, [null, 2])}::int[])
      as given (name, empty, number)`.execute(database.system)
  assert.deepEqual(rows, [
    { name: 'a', empty: null, number: null },
    { name: 'b', empty: null, number: 2 },
  ])
})
