import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKey, hashKey, isWellFormedKey, prefixOfKey } from './key-format.ts'

test('a key is whole, and one wrong letter is told without a look-up', () => {
  const key = createKey()
  assert.match(key, /^pck_[0-9A-Za-z]{32}_[0-9a-z]{7}$/)
  assert.equal(isWellFormedKey(key), true)
  for (let index = 4; index < key.length; index += 1) {
    const other = key[index] === 'a' ? 'b' : 'a'
    if (key[index] === '_') continue
    assert.equal(
      isWellFormedKey(key.slice(0, index) + other + key.slice(index + 1)),
      false,
      `letter ${index}`,
    )
  }
  assert.equal(isWellFormedKey(key.slice(0, -1)), false)
  assert.equal(isWellFormedKey(''), false)
})

test('neither hash nor prefix gives the key away', () => {
  const key = createKey()
  assert.equal(hashKey(key).length, 64)
  assert.ok(prefixOfKey(key).length <= 10)
})
