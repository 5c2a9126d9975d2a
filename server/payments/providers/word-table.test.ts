import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFailureTable, createWordTable } from './word-table.ts'

test('every word of a row has its meaning', () => {
  const table = createWordTable([
    ['confirmed', 'approved in_mediation'],
    ['failed', 'rejected'],
  ] as const)
  const found = ['approved', 'in_mediation', 'rejected', 'teleported', ''].map((word) => table.get(word))
  assert.deepEqual(found, ['confirmed', 'confirmed', 'failed', undefined, undefined])
})

test('a decline keeps the word of the provider, known or not', () => {
  const describe = createFailureTable([['expired_card', 'other_method', '-8 54']])
  assert.deepEqual(describe(-8), { code: 'expired_card', retry: 'other_method', providerCode: '-8' })
  assert.deepEqual(describe('99'), { code: 'unknown_reason', retry: 'other_method', providerCode: '99' })
  const strict = createFailureTable([], ['card_declined', 'never'])
  assert.deepEqual(strict('x'), { code: 'card_declined', retry: 'never', providerCode: 'x' })
})
