import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createWireTable } from './wire-table.ts'

test('currencies have their own decimals but for those where the provider has others', () => {
  const wire = createWireTable('CLP COP USD KWD', { COP: 0, UGX: 2 })
  assert.deepEqual(wire, { CLP: 0, COP: 0, USD: 2, KWD: 3, UGX: 2 })
  assert.deepEqual(Object.keys(wire), ['CLP', 'COP', 'KWD', 'UGX', 'USD'])
})
