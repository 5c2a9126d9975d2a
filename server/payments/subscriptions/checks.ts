import { readJson } from '../presentation.ts'
import type { Failure } from '../providers/provider.ts'
import type { SubscriptionRow } from './queries.ts'

const minuteMs = 60 * 1000
const dayMs = 24 * 60 * minuteMs

/** A creation that nobody could find. */
export const neverFound: Failure = { code: 'not_processed', providerCode: 'not_found', retry: 'same' }

/** It was given up because nobody could find it; should it turn up late, it must not charge anybody. */
function isGivenUp(row: SubscriptionRow): boolean {
  const failure = readJson<Failure>(row.failure)
  return row.status === 'expired' && failure?.providerCode === neverFound.providerCode
}

export function isEnded(status: SubscriptionRow['status']): boolean {
  return status === 'canceled' || status === 'expired'
}

/** When a subscription is read at its provider again: webhooks get lost, and some providers send none for these. */
export function nextLookAt(row: SubscriptionRow, openSince: Date | undefined, now: Date): Date | null {
  const ageMs = now.getTime() - row.created_at.getTime()
  if (isEnded(row.status) && (!isGivenUp(row) || ageMs > 3 * dayMs)) return null
  const waitsMs = [waitAfter(row.created_at, now)]
  if (openSince !== undefined) waitsMs.push(waitAfter(openSince, now))
  if (row.period_end !== null) waitsMs.push(waitAround(row.period_end, now))
  return new Date(now.getTime() + Math.min(...waitsMs))
}

/** More and more seldom, each day at last. */
function waitAfter(moment: Date, now: Date): number {
  const sinceMs = now.getTime() - moment.getTime()
  return Math.min(Math.max(sinceMs / 2, minuteMs), dayMs)
}

function waitAround(moment: Date, now: Date): number {
  const untilMs = moment.getTime() - now.getTime()
  return untilMs > 0 ? untilMs + minuteMs : waitAfter(moment, now)
}
