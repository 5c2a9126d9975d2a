import type { Interval } from '../providers/provider.ts'

const dayMs = 24 * 60 * 60 * 1000

export interface Cycle {
  /** The beginning of the first period. */
  anchor: Date
  every: Interval
  count: number
}

export interface Period {
  /** 1 for the first. */
  number: number
  start: Date
  end: Date
}

/** A period by its number. Each is counted from the anchor, so that a short month shortens only itself. UTC. */
export function periodOf(cycle: Cycle, number: number): Period {
  return { number, start: startOf(cycle, number), end: startOf(cycle, number + 1) }
}

/** The first period that begins at this moment or later. */
export function firstPeriodFrom(cycle: Cycle, moment: Date): Period {
  const passedDays = (moment.getTime() - cycle.anchor.getTime()) / dayMs
  // Too low by a few at most: no period is longer than this.
  let number = Math.max(1, Math.floor(passedDays / longestDays(cycle)) - 1)
  while (startOf(cycle, number) < moment) number += 1
  return periodOf(cycle, number)
}

function longestDays({ every, count }: Cycle): number {
  return { day: 1, week: 7, month: 31, year: 366 }[every] * count
}

function startOf({ anchor, every, count }: Cycle, number: number): Date {
  const steps = (number - 1) * count
  if (every === 'day' || every === 'week') {
    return new Date(anchor.getTime() + steps * (every === 'week' ? 7 : 1) * dayMs)
  }
  return addMonths(anchor, every === 'year' ? steps * 12 : steps)
}

/** The same day and time, or the last day of a month that has no such day. */
function addMonths(anchor: Date, months: number): Date {
  const month = anchor.getUTCMonth() + months
  const lastDay = new Date(Date.UTC(anchor.getUTCFullYear(), month + 1, 0)).getUTCDate()
  const moved = new Date(anchor)
  moved.setUTCFullYear(anchor.getUTCFullYear(), month, Math.min(anchor.getUTCDate(), lastDay))
  return moved
}
