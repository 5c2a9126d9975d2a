import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readOptOut } from './opt-out.ts'

test('opt-out words are told in English, Spanish and Portuguese, whatever their case, accents and punctuation', () => {
  for (const text of ['STOP', 'stop.', ' Baja ', '¡BAJA!', 'no más', 'Sair', 'cancelar suscripción']) {
    assert.equal(readOptOut(text), 'stop', text)
  }
})

test('a sentence that only contains the word is no opt-out', () => {
  for (const text of ['cancelar mi pedido', 'please stop by the shop', 'la sala baja', '', undefined]) {
    assert.equal(readOptOut(text), undefined, text)
  }
})

test('START and ALTA bring a contact back, HELP asks', () => {
  assert.equal(readOptOut('Start'), 'start')
  assert.equal(readOptOut('alta'), 'start')
  assert.equal(readOptOut('help'), 'help')
})
