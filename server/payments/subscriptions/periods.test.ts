import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Cycle, firstPeriodFrom, periodOf } from './periods.ts'

function cycle(anchor: string, every: Cycle['every'], count = 1): Cycle {
  return { anchor: new Date(anchor), every, count }
}

function starts(of: Cycle, count: number): string[] {
  return Array.from({ length: count }, (_, index) => periodOf(of, index + 1).start.toISOString())
}

describe('periods', () => {
  test('a month that is too short ends the period on its last day and shortens no other', () => {
    assert.deepEqual(starts(cycle('2027-01-31T10:30:00.000Z', 'month'), 5), [
      '2027-01-31T10:30:00.000Z',
      '2027-02-28T10:30:00.000Z',
      '2027-03-31T10:30:00.000Z',
      '2027-04-30T10:30:00.000Z',
      '2027-05-31T10:30:00.000Z',
    ])
  })

  test('a leap year gives February its 29th day', () => {
    assert.deepEqual(starts(cycle('2027-12-31T00:00:00.000Z', 'month', 2), 3), [
      '2027-12-31T00:00:00.000Z',
      '2028-02-29T00:00:00.000Z',
      '2028-04-30T00:00:00.000Z',
    ])
  })

  test('a year from 29 February ends on 28 February, and on the 29th again in the next leap year', () => {
    assert.deepEqual(starts(cycle('2028-02-29T23:59:59.999Z', 'year'), 5), [
      '2028-02-29T23:59:59.999Z',
      '2029-02-28T23:59:59.999Z',
      '2030-02-28T23:59:59.999Z',
      '2031-02-28T23:59:59.999Z',
      '2032-02-29T23:59:59.999Z',
    ])
  })

  test('weeks and days have their length, whatever clocks do in the tenant’s country', () => {
    assert.deepEqual(starts(cycle('2027-04-02T03:00:00.000Z', 'week', 2), 3), [
      '2027-04-02T03:00:00.000Z',
      '2027-04-16T03:00:00.000Z',
      '2027-04-30T03:00:00.000Z',
    ])
    assert.deepEqual(starts(cycle('2028-02-28T03:00:00.000Z', 'day'), 3), [
      '2028-02-28T03:00:00.000Z',
      '2028-02-29T03:00:00.000Z',
      '2028-03-01T03:00:00.000Z',
    ])
  })

  test('the first period from a moment is the one that begins then, or the next', () => {
    const monthly = cycle('2027-01-31T12:00:00.000Z', 'month')
    const numberFrom = (moment: string) => firstPeriodFrom(monthly, new Date(moment)).number
    assert.equal(numberFrom('2026-01-01T00:00:00.000Z'), 1)
    assert.equal(numberFrom('2027-01-31T12:00:00.000Z'), 1)
    assert.equal(numberFrom('2027-01-31T12:00:00.001Z'), 2)
    assert.equal(numberFrom('2027-02-28T12:00:00.000Z'), 2)
    assert.equal(numberFrom('2037-02-28T12:00:00.000Z'), 122)
  })

  test('periods follow each other without gap or overlap, and any moment finds its own', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true }),
        fc.constantFrom('day', 'week', 'month', 'year'),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 200 }),
        (anchor, every, count, number) => {
          const of = { anchor, every, count }
          const period = periodOf(of, number)
          assert.ok(period.start < period.end)
          assert.deepEqual(periodOf(of, number + 1).start, period.end)
          assert.equal(firstPeriodFrom(of, period.start).number, number)
          assert.equal(firstPeriodFrom(of, new Date(period.start.getTime() + 1)).number, number + 1)
        },
      ),
    )
  })
})
