import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Claim } from './work.ts'
import {
  addClaims,
  createSlots,
  dropWaiting,
  findDemand,
  freeSlot,
  type Slots,
  takeSlot,
} from './work-slots.ts'

function claimsOf(lane: string, count: number): Claim[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `${lane}${index}`
    const item = {
      id,
      kind: 'job' as const,
      lane,
      tenantId: null,
      productId: null,
      ref: id,
      runAt: new Date(0),
      attempt: 1,
      series: null,
      number: null,
      ordered: false,
    }
    return { item, limits: undefined, token: '', claimedAt: 0 }
  })
}

function takeAll(slots: Slots): string[] {
  const taken: string[] = []
  for (let claim = takeSlot(slots); claim; claim = takeSlot(slots)) taken.push(claim.item.id)
  return taken
}

/** Claims like the database would from lanes that never run dry. */
function fill(slots: Slots, lanes: readonly string[]): void {
  for (const lane of lanes) {
    const demand = findDemand(slots)
    if (!demand) return
    addClaims(slots, demand, claimsOf(lane, Math.min(demand.total, demand.rooms.get(lane) ?? demand.perLane)))
    takeAll(slots)
  }
}

describe('slots', () => {
  test('go to lanes in turns', () => {
    const slots = createSlots(6, 6)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, [...claimsOf('a', 3), ...claimsOf('b', 3)])
    assert.deepEqual(takeAll(slots), ['a0', 'b0', 'a1', 'b1'])
  })

  test('are never all held by lanes that hang', () => {
    const slots = createSlots(64, 32)
    fill(slots, ['a', 'b', 'c', 'd', 'e'])
    assert.equal(slots.lanes.get('a')?.running, 32)
    assert.equal(slots.lanes.get('b')?.running, 16)
    assert.ok(slots.running < 64)
    fill(slots, ['healthy'])
    assert.ok((slots.lanes.get('healthy')?.running ?? 0) >= 1)
  })

  test('keep a lane within its cap', () => {
    const slots = createSlots(64, 4)
    fill(slots, ['a'])
    assert.equal(slots.lanes.get('a')?.running, 4)
    assert.equal(findDemand(slots)?.rooms.get('a'), 0)
  })

  test('ask for nothing while all are taken', () => {
    const slots = createSlots(2, 2)
    fill(slots, ['a', 'b'])
    assert.equal(slots.running, 2)
    assert.equal(findDemand(slots), undefined)
  })

  test('call for a claim when a lane that may have more has used up what it had', () => {
    const slots = createSlots(8, 4)
    fill(slots, ['a'])
    findDemand(slots)
    dropWaiting(slots, () => true)
    assert.equal(freeSlot(slots, claimsOf('a', 1)[0] as Claim), true)
  })

  test('call for no claim when the table had no more', () => {
    const slots = createSlots(8, 4)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, claimsOf('a', 1))
    takeAll(slots)
    assert.equal(freeSlot(slots, claimsOf('a', 1)[0] as Claim), false)
    assert.equal(slots.lanes.size, 0)
  })

  test('give back what waits', () => {
    const slots = createSlots(4, 2)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, claimsOf('a', 3))
    takeAll(slots)
    assert.deepEqual(
      dropWaiting(slots, () => true).map((claim) => claim.item.id),
      ['a2'],
    )
    assert.deepEqual(takeAll(slots), [])
  })
})
