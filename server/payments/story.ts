import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { notFound } from '#core/errors.ts'
import { timeOfId } from '#core/ids.ts'
import { readEventsOf } from '#webhooks/outbound'
import { presentLog, presentPayment, presentRefund } from './presentation.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import { findPayment, listLogOf, listRefunds, type LogRow } from './queries.ts'
import type { Story } from './schema.ts'
import {
  describeAnswer,
  describeEntry,
  describeEvent,
  isAct,
  isReading,
  type Subject,
} from './story-words.ts'

type Step = Story['steps'][number]
type StoryEvent = NonNullable<Step['event']>

/** A step and what stands before what: its time, then what follows from what. */
interface Placed {
  time: number
  rank: number
  step: Step
}

/**
 * Everything that happened to a payment, in order and in plain words: what was asked of the provider and what it
 * answered, webhooks, returns, decisions, and what the backend was told.
 * @throws PipeError 404
 */
export async function getStory(context: Context, scope: TenantScope, id: string): Promise<Story> {
  return context.database.asTenant(scope, async (db) => {
    const row = await findPayment(db, scope.tenantId, id)
    if (row === undefined) throw notFound('payment', id)
    const subject = {
      title: requirePaymentProvider(row.provider).title,
      currency: row.currency,
      capture: row.capture,
    }
    const log = await listLogOf(db, scope.tenantId, id)
    const events = await readEventsOf(db, scope, id)
    const refunds = await listRefunds(db, scope.tenantId, id)
    return {
      payment: presentPayment(row, context.now()),
      refunds: refunds.map((refund) => presentRefund(refund, row.currency)),
      steps: [...log.flatMap((entry) => placeEntry(entry, subject)), ...events.map(placeEvent)]
        .toSorted((a, b) => a.time - b.time || a.rank - b.rank)
        .map(({ step }) => step),
    }
  })
}

const ranks = { ask: 0, answer: 1, note: 2, event: 3 }

/** A call is two steps: when it was made, and when it ended. */
function placeEntry(entry: LogRow, subject: Subject): Placed[] {
  const time = entry.at.getTime()
  const first = {
    at: entry.at.toISOString(),
    text: describeEntry(entry, subject),
    log: presentLog(entry),
    event: null,
  }
  if (!isAct(entry)) return [{ time, rank: isReading(entry) ? ranks.answer : ranks.note, step: first }]
  const answer = describeAnswer(entry, subject)
  const asked = { time, rank: ranks.ask, step: first }
  if (answer === undefined) return [asked]
  const end = time + (entry.duration_ms ?? 0)
  const step = { at: new Date(end).toISOString(), text: answer, log: null, event: null }
  return [asked, { time: end, rank: ranks.answer, step }]
}

/** Placed by when it was recorded: what it tells may have happened long before. */
function placeEvent(event: StoryEvent): Placed {
  const at = timeOfId(event.id)
  const states = event.deliveries.map(({ state }) => state)
  const step = { at: at.toISOString(), text: describeEvent(event.type, states), log: null, event }
  return { time: at.getTime(), rank: ranks.event + eventRank(event.type), step }
}

/** Of those recorded at once. */
const firstOfAll = ['payment.drift_detected', 'payment.created', 'refund.created']

function eventRank(type: string): number {
  const index = firstOfAll.indexOf(type)
  return index === -1 ? firstOfAll.length : index
}
