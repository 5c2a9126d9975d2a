import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grownOld } from '#core/testing/memory.ts'
import { figure, idText, optionalTime } from './vendor-fields.ts'

test('what a vendor writes in two ways is read in one', () => {
  assert.deepEqual(
    [idText.parse(12), idText.parse('12'), figure.parse('-1.5'), figure.parse(3)],
    ['12', '12', -1.5, 3],
  )
  for (const odd of ['', null, {}]) assert.equal(idText.safeParse(odd).success, false)
  assert.equal(figure.safeParse('1,5').success, false)
  assert.deepEqual(optionalTime.parse('2026-11-30T12:00:00Z'), new Date('2026-11-30T12:00:00Z'))
  for (const odd of ['soon', null, undefined, 7]) assert.equal(optionalTime.parse(odd), undefined)
})

test('a text that was read is not kept until a whole collection', async () => {
  const readAll = async () => {
    for (let count = 0; count < 300; count += 1) {
      assert.ok(idText.safeParse(`${'x'.repeat(20_000)}${count}`.toUpperCase()).success)
    }
  }
  await readAll()
  const grown = await grownOld(readAll)
  assert.ok(grown < 3_000_000, `${grown} bytes`)
})
