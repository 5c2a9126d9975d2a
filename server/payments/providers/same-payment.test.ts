import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuseOther } from './same-payment.ts'

test('an answer that names another payment is unknown, and says what differs', () => {
  const found = refuseOther('Bank', [
    ['order', 'a', 'a'],
    ['amount', 1, 100],
  ])
  assert.equal(found?.outcome, 'unknown')
  assert.equal(found?.error.code, 'mismatch')
  assert.match(
    found?.error.message ?? '',
    /^Bank: the answer is not about this payment: its amount is 1, not 100/,
  )
})

test('an answer that names this payment is taken; what was not asked may be anything', () => {
  assert.equal(
    refuseOther('Bank', [
      ['order', 'a', 'a'],
      ['session', 'whatever', undefined],
    ]),
    undefined,
  )
})

test('only an answer that may lack fields may lack them, and none may contradict', () => {
  assert.equal(refuseOther('Bank', [['order', undefined, 'a']], true), undefined)
  assert.equal(refuseOther('Bank', [['order', null, 'a']])?.outcome, 'unknown')
  assert.equal(refuseOther('Bank', [['order', 'b', 'a']], true)?.outcome, 'unknown')
})
