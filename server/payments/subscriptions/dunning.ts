import type { Failure } from '../providers/provider.ts'

const hourMs = 60 * 60 * 1000
const dayMs = 24 * hourMs

/** A declined charge is tried again after 1, 3, 5 and 7 days: these lie between two tries. */
const gapsDays = [1, 2, 2, 2]
const longestDays = 7
/** Hours in which a provider that can't be reached costs nobody the subscription. */
const mostUnprocessed = 24

export interface FailedTry {
  failure: Failure
  endedAt: Date
}

export interface NextTry {
  does: 'try' | 'give_up'
  at: Date
}

/** What follows after the tries to charge a period, oldest first, all of which failed. */
export function planNextTry(tries: readonly FailedTry[]): NextTry {
  const last = tries.at(-1)
  if (last === undefined) throw new RangeError('a period that was not tried has no next try')
  const declines = countDeclines(tries)
  if (declines.at(-1) !== last) return { does: 'try', at: after(last.endedAt, hourMs) }
  const gap = isFutile(last.failure) ? undefined : gapsDays[declines.length - 1]
  if (gap !== undefined) return { does: 'try', at: after(last.endedAt, gap * dayMs) }
  const end = after((declines[0] ?? last).endedAt, longestDays * dayMs)
  return { does: 'give_up', at: end > last.endedAt ? end : last.endedAt }
}

/** A try that never reached the bank says nothing about the customer, unless that goes on for a day. */
export function countDeclines(tries: readonly FailedTry[]): FailedTry[] {
  let spared = 0
  return tries.filter(({ failure }) => {
    if (failure.code !== 'not_processed' || spared >= mostUnprocessed) return true
    spared += 1
    return false
  })
}

/**
 * Another try with this method can't succeed, or is held against the merchant. What the provider refused to do at
 * all, such as for a wrong key, can be mended.
 */
function isFutile({ code, retry }: Failure): boolean {
  return code === 'too_many_attempts' || (retry === 'never' && code !== 'provider_refused')
}

function after(moment: Date, ms: number): Date {
  return new Date(moment.getTime() + ms)
}
