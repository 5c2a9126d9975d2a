import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filled, present } from './snapshot.ts'

test('fields that are nothing are left out, and no others', () => {
  const fields = { type: 'card', brand: undefined, last4: null, name: '', count: 0, isNew: false, list: [] }
  assert.deepEqual(present<object>(fields), { type: 'card', count: 0, isNew: false, list: [] })
})

test('details are absent when nothing is in them', () => {
  assert.equal(filled({ code: undefined, date: null, place: '' }), undefined)
  assert.deepEqual(filled({ code: '1213', date: null }), { code: '1213' })
})
