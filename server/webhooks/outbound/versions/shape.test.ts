import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { z } from 'zod'
import type { EventType } from '#core/module.ts'
import { shapeFor } from './shape.ts'

/** In version 1 a name was one text; version 2 split it; version 3 made the age a number. */
const types: readonly EventType[] = [
  {
    name: 'guest.seated',
    version: 3,
    description: '',
    schema: z.object({ first: z.string(), last: z.string(), age: z.number() }),
    older: [
      {
        version: 2,
        schema: z.object({ first: z.string(), last: z.string(), age: z.string() }),
        from: (body) => ({ ...body, age: String(body.age) }),
      },
      {
        version: 1,
        schema: z.object({ name: z.string(), age: z.string() }),
        from: ({ first, last, ...rest }) => ({ ...rest, name: [first, last].join(' ') }),
      },
    ],
  },
]

const seated = {
  type: 'guest.seated',
  version: 3,
  body: '{"id":"evt_1","first":"Ana","last":"Rojas","age":40}',
  older: null,
}

function bodyFor(pinned: number, event: typeof seated): unknown {
  const shape = shapeFor({ 'guest.seated': pinned }, event, types)
  return shape === undefined ? undefined : [shape.version, JSON.parse(shape.body)]
}

describe('a type of PipeCore', () => {
  test('steps down to the version that is pinned', () => {
    assert.deepEqual(bodyFor(2, seated), [2, { id: 'evt_1', first: 'Ana', last: 'Rojas', age: '40' }])
    assert.deepEqual(bodyFor(1, seated), [1, { id: 'evt_1', name: 'Ana Rojas', age: '40' }])
  })

  test('steps down from the version under which it was stored', () => {
    const stored = { ...seated, version: 2, body: '{"id":"evt_1","first":"Ana","last":"Rojas","age":"40"}' }
    assert.deepEqual(bodyFor(1, stored), [1, { id: 'evt_1', name: 'Ana Rojas', age: '40' }])
    assert.equal(shapeFor({}, stored, types), stored)
  })

  test('never steps up', () => {
    assert.equal(bodyFor(3, { ...seated, version: 2 }), undefined)
  })

  test('is sent as it is when PipeCore has given up the version that is pinned', () => {
    assert.equal(shapeFor({ 'guest.seated': 9 }, seated, types), seated)
  })

  test('that this process does not know is left to another one', () => {
    assert.throws(() => shapeFor({ 'guest.seated': 1 }, seated, []), /guest\.seated/)
  })
})

describe('nothing is read of a body', () => {
  const unreadable = { ...seated, body: 'no JSON', older: 'no JSON' }

  test('unless an older version is pinned', () => {
    assert.equal(shapeFor({}, unreadable, types), unreadable)
    assert.equal(shapeFor({ 'guest.left': 1 }, unreadable, types), unreadable)
    assert.equal(shapeFor({ 'guest.seated': 3 }, unreadable, types), unreadable)
    assert.throws(() => shapeFor({ 'guest.seated': 1 }, unreadable, types), SyntaxError)
  })
})
