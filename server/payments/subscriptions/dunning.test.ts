import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Failure } from '../providers/provider.ts'
import { type FailedTry, planNextTry } from './dunning.ts'

const declined: Failure = { code: 'card_declined', providerCode: '-4', retry: 'other_method' }
const unprocessed: Failure = { code: 'not_processed', providerCode: 'not_found', retry: 'same' }

function failedOn(day: number, failure = declined): FailedTry {
  return { failure, endedAt: atDay(day) }
}

function atDay(day: number): Date {
  return new Date(Date.UTC(2027, 0, 1) + day * 24 * 60 * 60 * 1000)
}

describe('dunning', () => {
  test('a declined charge is tried again after 1, 3, 5 and 7 days, then it is given up', () => {
    const tries: FailedTry[] = []
    const days: number[] = []
    for (let next = atDay(0); ;) {
      tries.push({ failure: declined, endedAt: next })
      const plan = planNextTry(tries)
      days.push((plan.at.getTime() - atDay(0).getTime()) / (24 * 60 * 60 * 1000))
      if (plan.does === 'give_up') break
      next = plan.at
    }
    assert.deepEqual(days, [1, 3, 5, 7, 7])
  })

  test('a late try moves those after it, so that none come in a bunch', () => {
    assert.deepEqual(planNextTry([failedOn(0), failedOn(6)]), { does: 'try', at: atDay(8) })
  })

  test('a method that can not succeed is not tried again, and the customer has a week for another', () => {
    const lost: Failure = { code: 'lost_or_stolen', providerCode: 'pickup', retry: 'never' }
    const limited: Failure = { code: 'too_many_attempts', providerCode: '-11', retry: 'other_method' }
    for (const failure of [lost, limited]) {
      assert.deepEqual(planNextTry([failedOn(0), failedOn(1, failure)]), { does: 'give_up', at: atDay(7) })
    }
  })

  test('many cards tried in one day do not end the subscription before the week is over', () => {
    const tries = Array.from({ length: 8 }, () => failedOn(0.5))
    assert.deepEqual(planNextTry([failedOn(0), ...tries]), { does: 'give_up', at: atDay(7) })
  })

  test('what the provider refused to do at all is tried again: a wrong key can be mended', () => {
    const refused: Failure = { code: 'provider_refused', providerCode: '401', retry: 'never' }
    assert.deepEqual(planNextTry([failedOn(0, refused)]), { does: 'try', at: atDay(1) })
  })

  test('a charge that never reached the bank is tried again in an hour and counts for nothing', () => {
    const hour = 1 / 24
    assert.deepEqual(planNextTry([failedOn(0, unprocessed)]), { does: 'try', at: atDay(hour) })
    const down = Array.from({ length: 23 }, (_, index) => failedOn(index * hour, unprocessed))
    assert.deepEqual(planNextTry([...down, failedOn(1)]), { does: 'try', at: atDay(2) })
  })

  test('a provider that can not be reached for a day is as good as a decline', () => {
    const down = Array.from({ length: 25 }, (_, index) => failedOn(index / 24, unprocessed))
    assert.deepEqual(planNextTry(down), { does: 'try', at: atDay(2) })
    const still = [2, 4, 6, 8].map((day) => failedOn(day, unprocessed))
    assert.deepEqual(planNextTry([...down, ...still]), { does: 'give_up', at: atDay(8) })
  })
})
