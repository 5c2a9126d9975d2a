import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { type NewEvent, recordEvents } from '#webhooks/outbound'
import { traceOf } from '../events.ts'
import { isEnded } from './checks.ts'
import { eventAboutSubscription, eventAboutTry } from './events.ts'
import {
  type ChargeRow,
  type SubscriptionChange,
  type SubscriptionRow,
  updateSubscription,
} from './queries.ts'

/** What became of a charge, each told once. */
export type ChargeStep =
  | { became: 'paid'; charge: ChargeRow }
  | { became: 'failed'; charge: ChargeRow; nextAttemptAt?: Date | undefined }

/** Writes a change of a subscription, which the caller holds locked, and the events that follow from it. */
export async function saveSubscription(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  before: SubscriptionRow,
  change: SubscriptionChange,
  steps: readonly ChargeStep[] = [],
): Promise<SubscriptionRow> {
  const now = context.now()
  const after = { ...before, ...change, told: true, updated_at: now } as SubscriptionRow
  if (isEnded(after.status) && !isEnded(before.status)) {
    Object.assign(after, { ended_at: now, action: null, method_token: null })
  }
  await updateSubscription(db, before.tenant_id, before.id, differenceOf(before, after))
  await recordEvents(db, traceOf(scope, before), eventsBetween(before, after, steps, now), now)
  return after
}

function differenceOf(before: SubscriptionRow, after: SubscriptionRow): SubscriptionChange {
  const names = Object.keys(after) as Array<keyof SubscriptionRow>
  return Object.fromEntries(
    names.filter((name) => before[name] !== after[name]).map((name) => [name, after[name]]),
  )
}

/** A paid period is told by `activated` when it began the subscription, else by `renewed`. */
function eventsBetween(
  before: SubscriptionRow,
  after: SubscriptionRow,
  steps: readonly ChargeStep[],
  now: Date,
): NewEvent[] {
  const events: NewEvent[] = []
  const isNew = !before.told
  if (isNew) events.push(eventAboutSubscription(after, 'created', before.created_at))
  const begins = isWaiting(before) && !isWaiting(after) && !isEnded(after.status)
  const first = begins ? steps.find(({ became }) => became === 'paid')?.charge : undefined
  if (begins) events.push(eventAboutSubscription(after, 'activated', now, first))
  let paid = before.periods
  for (const step of steps) {
    if (step.became === 'failed') events.push(eventAboutTry(after, step.charge, step.nextAttemptAt, now))
    else if (step.charge !== first && renews(before, paid)) {
      events.push(eventAboutSubscription(after, 'renewed', now, step.charge))
    }
    if (step.became === 'paid') paid += 1
  }
  const turn = turnBetween(before, after)
  if (turn !== undefined) events.push(eventAboutSubscription(after, turn, now))
  if (!isNew && changed.some((name) => before[name] !== after[name])) {
    events.push(eventAboutSubscription(after, 'updated', now))
  }
  return events
}

const changed = ['amount', 'method_id', 'cancel_at_period_end'] as const

function isWaiting({ status }: SubscriptionRow): boolean {
  return status === 'pending' || status === 'unknown'
}

/** The first period of a subscription that is active already is no news, unless it was owed or follows a trial. */
function renews(before: SubscriptionRow, paidPeriods: number): boolean {
  return paidPeriods > 0 || before.trial_end !== null || before.status === 'past_due'
}

function turnBetween(before: SubscriptionRow, after: SubscriptionRow): string | undefined {
  if (before.status === after.status) return undefined
  if (before.status === 'paused' && !isEnded(after.status)) return 'resumed'
  return turns[after.status]
}

const turns: Partial<Record<SubscriptionRow['status'], string>> = {
  past_due: 'past_due',
  paused: 'paused',
  canceled: 'canceled',
  expired: 'expired',
}
