import { schedule } from './agenda.ts'
import type { Card } from './mercadopago-cards.ts'
import { endPreapproval } from './mercadopago-preapproval.ts'
import type { Frequency, Preapproval } from './mercadopago-preapproval.ts'
import { chargePeriod } from './mercadopago-renewals.ts'
import { playTurn } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

const HOUR_MS = 60 * 60 * 1_000

/** From now on it is charged: at its start, after its trial, or about an hour from now. */
export function authorize(turn: Turn, preapproval: Preapproval, card: Card): void {
  const now = turn.mercadopago.world.now()
  const { startAt, freeTrial } = preapproval.terms
  const isLater = startAt !== null && startAt > now
  const soon = new Date(now.getTime() + HOUR_MS)
  preapproval.card = card
  preapproval.status = 'authorized'
  preapproval.firstAt = freeTrial
    ? addPeriods(isLater ? startAt : now, freeTrial, 1)
    : isLater
      ? startAt
      : soon
  preapproval.nextAt = preapproval.firstAt
  scheduleCharge(turn, preapproval)
}

/** Plays the next date when the clock gets there, unless the date was moved meanwhile. */
function scheduleCharge({ mercadopago, account }: Turn, preapproval: Preapproval): void {
  const due = preapproval.nextAt
  if (due === null || preapproval.status === 'cancelled') return
  schedule(mercadopago.agenda, due, (at) => {
    if (preapproval.nextAt === due) playTurn(mercadopago, account, (turn) => passDate(turn, preapproval, at))
  })
}

/** A date passes also while it is paused; only nothing is charged then, nor later for it. */
export function passDate(turn: Turn, preapproval: Preapproval, at: Date): void {
  const { terms, status } = preapproval
  if (status === 'cancelled' || status === 'pending') return
  const isOver = terms.endAt !== null && terms.endAt <= at
  if (isOver) return endPreapproval(turn, preapproval)
  preapproval.datesPassed += 1
  preapproval.nextAt = dateAfter(preapproval)
  if (status === 'authorized') chargePeriod(turn, preapproval, at)
  if (terms.repetitions !== null && preapproval.datesPassed >= terms.repetitions)
    endPreapproval(turn, preapproval)
  else scheduleCharge(turn, preapproval)
}

function dateAfter({ firstAt, datesPassed, terms }: Preapproval): Date {
  const next = addPeriods(firstAt!, terms.every, datesPassed)
  if (terms.billingDay !== null) next.setUTCDate(terms.billingDay)
  return next
}

/** The end of a month is not passed: January 31 and a month is February 28. */
function addPeriods(start: Date, { count, type }: Frequency, times: number): Date {
  const moved = new Date(start)
  if (type === 'days') {
    moved.setUTCDate(moved.getUTCDate() + count * times)
    return moved
  }
  const day = moved.getUTCDate()
  moved.setUTCDate(1)
  moved.setUTCMonth(moved.getUTCMonth() + count * times)
  const lastDay = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate()
  moved.setUTCDate(Math.min(day, lastDay))
  return moved
}
