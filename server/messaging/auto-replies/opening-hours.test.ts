import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isWithin, OpeningHours } from './opening-hours.ts'

const office = OpeningHours.parse({
  timezone: 'America/Santiago',
  days: ['mon', 'fri'],
  from: '09:00',
  to: '18:00',
})
const night = OpeningHours.parse({ timezone: 'America/Santiago', days: ['fri'], from: '22:00', to: '06:00' })

test('hours follow the wall clock of their time zone, over daylight saving too', () => {
  // Santiago is at UTC-4 in July and at UTC-3 in January.
  assert.equal(isWithin(office, new Date('2026-07-06T13:00:00Z')), true)
  assert.equal(isWithin(office, new Date('2026-07-06T12:59:00Z')), false)
  assert.equal(isWithin(office, new Date('2026-01-05T12:00:00Z')), true)
  assert.equal(isWithin(office, new Date('2026-01-05T21:00:00Z')), false)
})

test('days that are not named are closed', () => {
  assert.equal(isWithin(office, new Date('2026-07-07T14:00:00Z')), false)
})

test('hours over midnight belong to the day they began on', () => {
  assert.equal(isWithin(night, new Date('2026-07-11T03:00:00Z')), true)
  assert.equal(isWithin(night, new Date('2026-07-11T09:59:00Z')), true)
  assert.equal(isWithin(night, new Date('2026-07-12T03:00:00Z')), false)
})

test('a time zone that does not exist is refused', () => {
  const parsed = OpeningHours.safeParse({ timezone: 'America/Atlantis', from: '09:00', to: '10:00' })
  assert.equal(parsed.success, false)
})
