import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createBag } from './bag.ts'

test('a bag holds what was put in and not yet taken out, each once', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 20 }), { maxLength: 100 }), (steps) => {
      const bag = createBag<number>()
      const kept = new Map<number, () => boolean>()
      for (const [item, step] of steps.entries()) {
        const [taken, takeOut] = [...kept][step] ?? []
        if (taken === undefined || takeOut === undefined) {
          kept.set(item, bag.add(item))
          continue
        }
        kept.delete(taken)
        assert.equal(takeOut(), true)
        assert.equal(takeOut(), false)
      }
      assert.deepEqual(
        bag.items().toSorted((one, other) => one - other),
        [...kept.keys()],
      )
    }),
  )
})

test('what was in a bag that was emptied can not be taken out', () => {
  const bag = createBag<string>()
  const takeOut = bag.add('a')
  bag.clear()
  bag.add('b')
  assert.equal(takeOut(), false)
  assert.deepEqual(bag.items(), ['b'])
})
