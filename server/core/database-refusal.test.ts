import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseError } from 'pg'
import { isRefusal } from './database-refusal.ts'

function answer(severity: string, code: string): DatabaseError {
  return Object.assign(new DatabaseError('said by the server', 1, 'error'), { severity, code })
}

test('what the server took back is known in whatever language it says so', () => {
  assert.ok(isRefusal(answer('ERROR', '23505')))
  assert.ok(isRefusal(answer('FEHLER', '23505')))
  assert.ok(isRefusal(answer('ERREUR', '57014')))
})

test('the end of a session may have come behind a commit', () => {
  assert.ok(!isRefusal(answer('FATAL', '57P01')))
  assert.ok(!isRefusal(answer('PANIC', 'XX000')))
  assert.ok(!isRefusal(answer('FATAL', '08P01')))
  assert.ok(!isRefusal(answer('FATAL', '25P04')))
  assert.ok(!isRefusal(new Error('Connection terminated unexpectedly')))
})
