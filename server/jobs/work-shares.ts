import { type Conduct, isBrief } from './work-conduct.ts'

/**
 * How many slots a lane, or all lanes of a series, may hold. One whose runs are not known to be brief may have as many
 * as are left free, and never more than the cap: the first that hangs gets half of the slots, the next a quarter, and a
 * few stay free for first runs of others. What is brief is soon over: it may use what nobody else is short of, alone
 * nearly all, and nobody but it gets the last slot.
 */
export interface Share {
  /** Slots of the process, and those that are free. */
  count: number
  free: number
  /** Most that may run of one lane beside others. */
  laneCap: number
  /** So many lanes, or series, have something to run. */
  sharers: number
  /** Most that may run of it while its runs are brief and there are others. */
  most: number
}

/**
 * `entitled` to one more slot; `borrowing`, when nobody else is short; `brief` and soon to have one of its own again;
 * `short` of what it should have, and waiting for more slots to be free; `full`.
 */
export type Standing = 'entitled' | 'borrowing' | 'brief' | 'short' | 'full'

const order: readonly Standing[] = ['entitled', 'borrowing', 'brief', 'short', 'full']

interface Held {
  running: number
  conduct: Conduct
}

export function standingOf({ running, conduct }: Held, share: Share, now: number): Standing {
  const { count, free, laneCap, sharers } = share
  const fair = count / sharers
  if (isBrief(conduct, running, now)) {
    if (running >= mostBrief(share)) return 'brief'
    return running < fair ? 'entitled' : 'borrowing'
  }
  const kept = Math.floor(count / (running === 0 ? 64 : 16))
  if (running < Math.min(laneCap, free) && free > kept) return 'entitled'
  return running < Math.min(laneCap, fair) / 2 ? 'short' : 'full'
}

/** Of a lane and its series the one that allows less decides. */
export function worseOf(one: Standing, other: Standing): Standing {
  return order.indexOf(one) > order.indexOf(other) ? one : other
}

/** How many of it are worth having here: what may run of it, and what may wait. A quarter of what may wait in all is left to those that come. */
export function roomIn({ running, conduct }: Held, share: Share, ahead: number, now: number): number {
  const { count, free, laneCap, sharers } = share
  const plain = Math.min(laneCap, free)
  const reserved = Math.ceil((ahead * 3) / 4 / sharers)
  if (isBrief(conduct, running, now)) return Math.max(plain, Math.ceil(count / sharers)) + reserved
  return plain + Math.min(reserved, Math.ceil(laneCap / 2))
}

function mostBrief({ count, sharers, most }: Share): number {
  return sharers > 1 ? most : count - Math.floor(count / 32)
}
