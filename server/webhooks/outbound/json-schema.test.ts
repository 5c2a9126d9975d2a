import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  checkData,
  compileSchema,
  createCheckBudget,
  findSchemaFaults,
  type JsonObject,
} from './json-schema.ts'

function faultsOf(schema: JsonObject): string[] {
  return findSchemaFaults(schema).map(({ field, message }) => `${field} ${message}`)
}

function check(schema: JsonObject, data: JsonObject, budget = createCheckBudget()): string[] {
  assert.deepEqual(faultsOf(schema), [])
  return checkData(compileSchema(schema), data, 'data', budget).map(
    ({ field, message }) => `${field} ${message}`,
  )
}

/** A chain of definitions, each naming the next one twice. */
function doubling(length: number): JsonObject {
  const steps = Array.from({ length }, (_, index) => {
    const next = index + 1 < length ? { $ref: `#/$defs/d${index + 1}` } : { type: 'object' }
    return [`d${index}`, { allOf: [next, next] }]
  })
  return { $ref: '#/$defs/d0', $defs: Object.fromEntries(steps) }
}

describe('a schema is refused that', () => {
  const deep = () => {
    let schema: JsonObject = { type: 'string' }
    for (let depth = 0; depth < 25; depth += 1) schema = { properties: { inner: schema } }
    return schema
  }
  const loop = { properties: { child: { $ref: '#/$defs/node' } } }
  const refused: Array<[name: string, schema: JsonObject, says: RegExp]> = [
    ['has a type that is none', { type: 'money' }, /^schema\.type must be/],
    ['has a keyword of the wrong form', { properties: [] }, /^schema\.properties must be object$/],
    ['is of another draft', { $schema: 'http://json-schema.org/draft-07/schema#' }, /must be draft 2020-12/],
    ['points outside', { $ref: 'https://example.com/order.json' }, /^schema\.\$ref points to nothing/],
    [
      'points to the draft itself',
      { $ref: 'https://json-schema.org/draft/2020-12/schema' },
      /points to nothing/,
    ],
    ['points to what is not there', { $ref: '#/$defs/none', $defs: {} }, /points to nothing/],
    ['points past a percent sign', { $ref: '#/$defs/a%2Fb', $defs: { 'a/b': {} } }, /points to nothing/],
    ['leads back to itself', { $ref: '#/$defs/node', $defs: { node: loop } }, /leads back to itself/],
    ['is itself', { properties: { again: { $ref: '#' } } }, /leads back to itself/],
    ['doubles at every reference', doubling(40), /more than 2000 values/],
    ['is deep', deep(), /nested more than 40 deep/],
    ['is long', { description: 'a'.repeat(33_000) }, /larger than 32 KiB/],
    ['looks behind in a pattern', { properties: { a: { pattern: '(?<!b)a' } } }, /no pattern that RE2 takes/],
    ['refers back in a pattern', { patternProperties: { '(a)\\1': {} } }, /no pattern that RE2 takes/],
    ['has a long pattern', { properties: { a: { pattern: 'a'.repeat(201) } } }, /more than 200 characters/],
    ['is asynchronous', { $async: true }, /\$async is not followed here/],
    [
      'moves its own references',
      { $defs: { a: { $id: 'https://example.com/a' } } },
      /may stand at the top only/,
    ],
    ['has a choice of nothing', { enum: [] }, /can not be used/],
  ]

  for (const [name, schema, says] of refused) {
    test(name, () => assert.match(faultsOf(schema).join('\n'), says))
  }
})

describe('a body is checked', () => {
  const order = {
    $id: 'https://tableflow.com/order',
    type: 'object',
    properties: {
      order_id: { type: 'string', pattern: '^ORD-\\d+$' },
      amount: { $ref: '#/$defs/money' },
      paid_at: { type: 'string', format: 'date-time' },
      status: { enum: ['open', 'paid'] },
      lines: { type: 'array', uniqueItems: true, items: { type: 'object', required: ['sku'] } },
      'a/b': { type: 'string' },
    },
    required: ['order_id', 'amount'],
    additionalProperties: false,
    $defs: { money: { type: 'integer', minimum: 1 } },
  }

  test('a good one has no fault', () => {
    const lines = [
      { sku: 'a', count: 1 },
      { sku: 'a', count: 2 },
    ]
    const data = { order_id: 'ORD-1', amount: 15990, paid_at: '2026-11-29T12:00:00Z', status: 'paid', lines }
    assert.deepEqual(check(order, data), [])
  })

  test('every fault is told with its field', () => {
    const lines = [{ sku: 'a', count: 1 }, { count: 1, sku: 'a' }, {}]
    const data = { order_id: 'x', paid_at: 'noon', status: 'lost', lines, 'a/b': 1, plan: 'pro' }
    assert.deepEqual(check(order, data).toSorted(), [
      'data.a/b must be string',
      'data.amount is missing',
      'data.lines must not hold the same twice',
      'data.lines.2.sku is missing',
      'data.order_id must match pattern "^ORD-\\d+$"',
      'data.paid_at must match format "date-time"',
      'data.plan is not a field here',
      'data.status must be one of ["open","paid"]',
    ])
  })

  test('one product’s schema can not be found by another’s reference', () => {
    compileSchema(order)
    assert.match(faultsOf({ $ref: 'https://tableflow.com/order' }).join(), /points to nothing/)
  })

  test('patterns that would take for ever take no time', () => {
    const startedAt = performance.now()
    const schema = { properties: { a: { type: 'string', pattern: '^(a+)+$' } } }
    assert.equal(check(schema, { a: `${'a'.repeat(5_000)}!` }).length, 1)
    assert.ok(performance.now() - startedAt < 2_000)
  })

  test('many equal things are found without comparing each with each', () => {
    const startedAt = performance.now()
    const items = Array.from({ length: 60_000 }, (_, index) => ({ index }))
    const schema = { properties: { items: { type: 'array', uniqueItems: true } } }
    assert.deepEqual(check(schema, { items }), [])
    assert.ok(performance.now() - startedAt < 2_000)
  })

  test('what would take too much is refused, also when many bodies of one request do so together', () => {
    const anyOf = Array.from({ length: 600 }, (_, index) => ({ const: index }))
    const schema = { properties: { items: { items: { anyOf } } } }
    const items = Array.from({ length: 1_000 }, () => 'x')
    const budget = createCheckBudget()
    const told = Array.from({ length: 5 }, () => check(schema, { items }, budget))
    assert.ok((told[0]?.length ?? 0) > 1_000)
    assert.match(told.at(-1)?.join() ?? '', /^data is too much to check in one request/)
    const patterned = { properties: { a: { pattern: 'b' } } }
    assert.match(check(patterned, { a: 'a'.repeat(250_000) }).join(), /too much to check/)
  })
})
