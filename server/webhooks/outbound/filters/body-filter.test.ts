import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import fc from 'fast-check'
import type { Database } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { compileFilter, conditionsOf, fieldOperators } from './body-filter.ts'
import { findFilterFaults } from './filter-faults.ts'
import { matchPaths } from './queries.ts'

type Json = Record<string, unknown>

let database: Database
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  database = (await createTestDatabase({ after: (work) => void cleanups.push(work) })).database
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function matches(filter: Json, body: Json | string): Promise<boolean> {
  assert.deepEqual(findFilterFaults(filter), [], JSON.stringify(filter))
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const [answer] = await matchPaths(database.system, text, [compileFilter(filter)])
  return answer === true
}

const body = {
  amount: 15990,
  currency: 'CLP',
  note: null,
  paid: true,
  customer: { country: 'CL', tier: 'gold' },
  tags: ['vip', 'new'],
  items: [
    { sku: 'A-1', quantity: 2 },
    { sku: 'B-2', quantity: 9 },
  ],
  empty: [],
  lists: [[1], [2]],
}

const cases: Array<[fits: boolean, filter: Json]> = [
  [true, { amount: 15990 }],
  [false, { amount: '15990' }],
  [true, { currency: ['CLP', 'USD'] }],
  [true, { note: null, paid: true }],
  [false, { missing: null }],
  [true, { amount: { $gte: 10000, $lt: 20000 } }],
  [false, { currency: { $gte: 10000 } }],
  [true, { currency: { $gt: 'CL', $lt: 'CM' } }],
  [true, { currency: { $ne: 'USD' }, missing: { $ne: 1 } }],
  [false, { tags: { $nin: ['vip'] } }],
  [true, { missing: { $exists: false }, empty: { $exists: true }, note: { $exists: true } }],
  [true, { currency: { $prefix: 'CL' } }],
  [false, { amount: { $prefix: '1' } }],
  [true, { customer: { country: 'CL', tier: { $in: ['gold'] } } }],
  [false, { customer: { country: { $exists: false } } }],
  [false, { missing: { country: { $exists: false } } }],
  [false, { customer: 'CL' }],
  [true, { tags: 'vip' }],
  [false, { empty: 'vip' }],
  [true, { items: { sku: 'B-2', quantity: { $gt: 5 } } }],
  [false, { items: { sku: 'A-1', quantity: { $gt: 5 } } }],
  [false, { lists: 1 }],
  [true, { $or: [{ amount: 1 }, { currency: 'CLP' }] }],
  [false, { $not: { tags: 'new' } }],
  [true, { paid: true, $not: { currency: 'USD' } }],
  [false, { paid: true, $or: [{ amount: 1 }, { $not: { currency: 'CLP' } }] }],
]
for (const [fits, filter] of cases) {
  test(`${JSON.stringify(filter)} ${fits ? 'matches' : 'does not match'}`, async () =>
    assert.equal(await matches(filter, body), fits))
}

test('a body that jsonb can not hold is delivered rather than lost', async () => {
  assert.equal(await matches({ amount: 1 }, '{"amount":2,"note":"\\ud83d"}'), true)
  assert.equal(await matches({ amount: 1 }, '{"amount":2,"note":"\\u0000"}'), true)
})

/** The words of the guide once more, in another language: what SQL answers is compared with this. */
function fits(filter: Json, value: unknown): boolean {
  return Object.entries(filter).every(([key, expected]) => {
    if (key === '$or') return (expected as Json[]).some((one) => fits(one, value))
    if (key === '$not') return !fits(expected as Json, value)
    return fitsField(expected, value as Json, key)
  })
}

function fitsField(expected: unknown, owner: Json, key: string): boolean {
  const has = Object.hasOwn(owner, key)
  const found: unknown[] = has ? [owner[key]].flat() : []
  if (Array.isArray(expected)) return found.some((one) => expected.some((value) => isSame(one, value)))
  if (typeof expected !== 'object' || expected === null) return found.some((one) => isSame(one, expected))
  if (!Object.keys(expected).some((name) => name.startsWith('$') && name !== '$or' && name !== '$not')) {
    return found.some((one) => isObject(one) && fits(expected as Json, one))
  }
  const { $exists, $ne, $nin, ...rest } = expected as Json
  const wanted = Object.entries(rest)
  return (
    ($exists === undefined || $exists === has) &&
    ($ne === undefined || !found.some((one) => isSame(one, $ne))) &&
    ($nin === undefined || !found.some((one) => ($nin as unknown[]).some((value) => isSame(one, value)))) &&
    (wanted.length === 0 ||
      found.some((one) => wanted.every(([operator, operand]) => fitsOne(operator, operand, one))))
  )
}

function fitsOne(operator: string, operand: unknown, value: unknown): boolean {
  if (operator === '$eq') return isSame(value, operand)
  if (operator === '$in') return (operand as unknown[]).some((one) => isSame(value, one))
  if (typeof value !== typeof operand) return false
  if (operator === '$prefix') return (value as string).startsWith(operand as string)
  const order =
    typeof value === 'string'
      ? Buffer.compare(Buffer.from(value), Buffer.from(operand as string))
      : Math.sign((value as number) - (operand as number))
  return { $gt: order > 0, $gte: order >= 0, $lt: order < 0, $lte: order <= 0 }[operator] === true
}

function isSame(left: unknown, right: unknown): boolean {
  return left === right
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const hardTexts = [
  '"',
  '\\',
  '\\"',
  "'",
  '$.a',
  '@',
  '\n',
  '\u0007',
  '\u2028',
  '\u007f',
  'ñ',
  '😀',
  '\uffee',
  '*',
  '',
]
const text = fc.oneof(
  fc.constantFrom('a', 'ab', 'b', ...hardTexts),
  fc.string({ unit: 'binary', maxLength: 6 }).filter((one) => one.isWellFormed() && !one.includes('\0')),
)
const number = fc.oneof(
  fc.constantFrom(0, 1, -1, 2, 0.1, 1e21, -1e-7, 10000, 5e-324, 1.7976931348623157e308),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (one === 0 ? 0 : one)),
)
const scalar = fc.oneof(text, number, fc.boolean(), fc.constant(null))
const name = fc
  .oneof({ weight: 8, arbitrary: fc.constantFrom('a', 'b', 'c', 'ñ "x"') }, { weight: 1, arbitrary: text })
  .filter((one) => !one.startsWith('$') && one !== '__proto__')
const { value: anyBody } = fc.letrec<{ value: Json; item: unknown }>((tie) => ({
  value: fc.dictionary(name, tie('item'), { maxKeys: 4, depthIdentifier: 'body' }) as fc.Arbitrary<Json>,
  item: fc.oneof(
    { depthIdentifier: 'body', maxDepth: 3 },
    { weight: 3, arbitrary: scalar },
    { weight: 1, arbitrary: tie('value') },
    { weight: 2, arbitrary: fc.array(tie('item'), { maxLength: 3, depthIdentifier: 'body' }) },
  ),
}))
const ordered = fc.oneof(text, number)
const operatorName = fc.constantFrom(...fieldOperators)
const operators = fc
  .record(
    {
      $eq: scalar,
      $in: fc.array(scalar, { minLength: 1, maxLength: 3 }),
      $ne: scalar,
      $nin: fc.array(scalar, { minLength: 1, maxLength: 3 }),
      $exists: fc.boolean(),
      $prefix: text,
      $gt: ordered,
      $gte: ordered,
      $lt: ordered,
      $lte: ordered,
    },
    { requiredKeys: [] },
  )
  .filter((one) => Object.keys(one).length > 0)
const { filter: anyFilter } = fc.letrec<{ filter: Json; condition: unknown }>((tie) => ({
  filter: fc
    .record(
      {
        fields: fc.dictionary(name, tie('condition'), { minKeys: 1, maxKeys: 2, depthIdentifier: 'filter' }),
        $or: fc.option(fc.array(tie('filter'), { minLength: 1, maxLength: 2, depthIdentifier: 'filter' }), {
          nil: undefined,
          depthIdentifier: 'filter',
          maxDepth: 2,
        }),
        $not: fc.option(tie('filter'), { nil: undefined, depthIdentifier: 'filter', maxDepth: 2 }),
      },
      { requiredKeys: ['fields'] },
    )
    .map(({ fields, $or, $not }) => ({ ...fields, ...($or && { $or }), ...($not && { $not }) })),
  condition: fc.oneof(
    { depthIdentifier: 'filter', maxDepth: 2 },
    scalar,
    fc.array(scalar, { minLength: 1, maxLength: 3 }),
    operators,
    tie('filter'),
  ),
}))

/** Conditions that have a chance, and lie at its edge: the operator on the values of the body itself. */
function echo(value: unknown, operator: string): Json {
  return Object.fromEntries(
    Object.entries(value as Json).flatMap(([key, found]): Array<[string, unknown]> => {
      const one = Array.isArray(found) ? (found[0] as unknown) : found
      if (key === '' || key.startsWith('$') || Array.isArray(one) || one === undefined) return []
      if (!isObject(one)) return [[key, edgeOf(operator, one)]]
      const within = echo(one, operator)
      return Object.keys(within).length > 0 ? [[key, within]] : []
    }),
  )
}

function edgeOf(operator: string, value: unknown): unknown {
  if (operator === '$exists') return { $exists: true }
  if (operator === '$in' || operator === '$nin') return { [operator]: [0, value] }
  if (operator === '$eq' || operator === '$ne') return { [operator]: value }
  const fitsOperator = typeof value === 'string' || (typeof value === 'number' && operator !== '$prefix')
  return fitsOperator ? { [operator]: value } : value
}

test('whatever the filter and the body, PostgreSQL judges as the guide says', async () => {
  let matched = 0
  await fc.assert(
    fc.asyncProperty(anyFilter, anyBody, fc.option(operatorName), async (random, given, operator) => {
      const own = operator === null ? {} : echo(given, operator)
      const filter = Object.keys(own).length > 0 ? own : random
      if (findFilterFaults(filter).length > 0) return
      const expected = fits(filter, given)
      if (expected) matched += 1
      assert.equal(await matches(filter, given), expected)
      // All top conditions together are the filter.
      const each = await matchPaths(
        database.system,
        JSON.stringify(given),
        conditionsOf(filter).map(({ path }) => path),
      )
      assert.equal(each.every(Boolean), expected)
    }),
    { numRuns: 2_000 },
  )
  assert.ok(matched > 200, `${matched} matched`)
})

const faulty: Array<[field: string, filter: unknown]> = [
  ['', {}],
  ['amount.$gte', { amount: { $gte: true } }],
  ['amount.$near', { amount: { $near: 5, $gte: 1 } }],
  ['$and', { $and: [{ a: 1 }] }],
  ['amount', { amount: [] }],
  ['amount.1', { amount: [1, { a: 1 }] }],
  ['amount.$in', { amount: { $in: 5 } }],
  ['amount.$exists', { amount: { $exists: 1 } }],
  ['note.$prefix', { note: { $prefix: 5 } }],
  ['customer', { customer: {} }],
  ['$or', { $or: [] }],
  ['$or.1', { $or: [{ a: 1 }, 5] }],
  ['$not.a.$x', { $not: { a: { $x: 1, $eq: 1 } } }],
  ['a.b.c.d.e.f', { a: { b: { c: { d: { e: { f: { g: 1 } } } } } } }],
  ['', Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`f${index}`, 1]))],
  ['a', { a: 'x'.repeat(501) }],
  ['a', { a: Array.from({ length: 101 }, () => 1) }],
]
for (const [field, filter] of faulty) {
  test(`${JSON.stringify(filter).slice(0, 60)} has a fault at ${field || 'its beginning'}`, () => {
    const faults = findFilterFaults(filter as Json)
    assert.deepEqual(
      faults.map(({ path }) => path.map(String).join('.')),
      [field],
    )
  })
}
