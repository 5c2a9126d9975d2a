import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createId } from '#core/ids.ts'
import { isRedelivery, redeliveryOf } from './events.ts'

test('a redelivery is known as one when it is tried again too, and no tenant called replay is one', () => {
  const event = { id: createId('evt'), tenant_id: 'acme', product_id: 'shop' }
  const { lane, series } = redeliveryOf(event, 'end_1', new Date())
  const lanes = [lane, `${lane}/retry`, 'end_1/acme', 'end_1/acme/retry']
  assert.deepEqual(
    lanes.map((one) => isRedelivery({ lane: one, series, tenantId: 'acme' })),
    [true, true, false, false],
  )
  assert.ok(!isRedelivery({ lane: 'end_1/replay', series, tenantId: 'replay' }))
})
