import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grownOld } from '#core/testing/memory.ts'
import { OwnEvent } from './schema.ts'

test('an event that was checked is not kept until a whole collection', async () => {
  const checkAll = async () => {
    for (let count = 0; count < 300; count += 1) {
      const data = { text: `${'x'.repeat(20_000)}${count}`.toUpperCase() }
      assert.ok(OwnEvent.safeParse({ tenant_id: 'acme', type: 'order.paid', data }).success)
    }
  }
  await checkAll()
  const grown = await grownOld(checkAll)
  assert.ok(grown < 3_000_000, `${grown} bytes`)
})

test('data is an object, and has nothing that PipeCore sets', () => {
  const faultsOf = (data: unknown) =>
    OwnEvent.safeParse({ tenant_id: 'acme', type: 'order.paid', data }).error?.issues.map(
      ({ code, path }) => [code, path.join('.')],
    )
  assert.deepEqual(faultsOf('text'), [['invalid_type', 'data']])
  assert.deepEqual(faultsOf([]), [['invalid_type', 'data']])
  assert.deepEqual(faultsOf({ id: 1, event: 2 }), [
    ['custom', 'data.id'],
    ['custom', 'data.event'],
  ])
})
