import type { Kill } from '../kill/killing.ts'
import type { Receiver } from '../kill/receiver.ts'
import { count, forbid, type Verdict } from '../kill/verdict.ts'
import type { EventView, Facts } from './facts.ts'
import type { Played } from './journeys.ts'

/** Every fact was told, once, and what was told arrived. */
export function judgeEvents(
  verdict: Verdict,
  facts: Facts,
  played: readonly Played[],
  receiver: Receiver,
  kills: readonly Kill[],
): void {
  judgeArrival(verdict, facts, receiver, kills)
  judgeCompleteness(verdict, facts)
  judgeTruth(verdict, facts, played)
}

function judgeArrival(
  verdict: Verdict,
  { events }: Facts,
  { arrivals }: Receiver,
  kills: readonly Kill[],
): void {
  const takenOf = ({ id }: EventView) => arrivals.get(id)?.filter(({ isTaken }) => isTaken) ?? []
  const missing = events.filter((event) => takenOf(event).length === 0)
  const changed = events.filter(({ id, text }) => arrivals.get(id)?.some((one) => one.text !== text))
  const repeated = events.filter((event) => takenOf(event).length > 1)
  const unexplained = repeated.filter((event) => {
    const times = takenOf(event).map(({ at }) => at)
    return !kills.some(({ at }) => at >= times[0]! - killedAfterMs && at <= times.at(-1)!)
  })
  count(verdict, 'events', events.length)
  count(verdict, 'events delivered again after a kill', repeated.length)
  forbid(verdict, 'lost events', missing, describe)
  forbid(verdict, 'delivered otherwise than recorded', changed, describe)
  forbid(verdict, 'delivered twice without a kill', unexplained, describe)
}

/** A process is gone a moment before it is noted. */
const killedAfterMs = 250

/** May come several times about one payment: each is about another refund, or another difference. */
const repeatable = ['payment.drift_detected']

function judgeCompleteness(verdict: Verdict, { events, payments, refunds }: Facts): void {
  const named = Map.groupBy(events, ({ paymentId, type, refundId = '' }) =>
    [paymentId, refundId, type].join(' '),
  )
  const twice = [...named].filter(([, same]) => same.length > 1 && !repeatable.includes(same[0]!.type))
  const wantedOf = (paymentId: string, refundId: string, type: string) =>
    [paymentId, refundId, type].join(' ')
  const wanted = payments.flatMap(({ id, status }) => [
    wantedOf(id, '', 'payment.created'),
    wantedOf(id, '', `payment.${status}`),
    ...(refunds.get(id) ?? []).flatMap((refund) => [
      wantedOf(id, refund.id, 'refund.created'),
      ...(refund.status === 'pending' ? [] : [wantedOf(id, refund.id, `refund.${refund.status}`)]),
      ...(refund.status === 'succeeded' ? [wantedOf(id, refund.id, 'payment.refunded')] : []),
    ]),
  ])
  forbid(verdict, 'events twice', twice, ([name]) => name)
  forbid(
    verdict,
    'facts without an event',
    wanted.filter((name) => !named.has(name)),
  )
}

/** What was told as an end stays true: only who was left on a page may still pay there. */
function judgeTruth(verdict: Verdict, { events, payments, refunds }: Facts, played: readonly Played[]): void {
  const types = Map.groupBy(events, ({ paymentId }) => paymentId)
  const told = (id: string, type: string) => types.get(id)?.some((event) => event.type === type) ?? false
  const confirmed = new Set(payments.filter(({ status }) => status === 'confirmed').map(({ id }) => id))
  const untrue = [...types.keys()].filter((id) => told(id, 'payment.confirmed') && !confirmed.has(id))
  const direct = played
    .filter(({ journey }) => journey.visit === undefined)
    .flatMap(({ ids: [id] }) => id ?? [])
  const mended = direct.filter((id) => told(id, 'payment.failed') && confirmed.has(id))
  const refundEvents = Map.groupBy(events, ({ refundId }) => refundId)
  const mendedRefunds = [...refunds.values()]
    .flat()
    .filter(({ id, status }) => status === 'succeeded' && toldFailed(refundEvents.get(id)))
  const late = events.filter(({ drift }) => drift !== undefined && drift !== 'refund_outside')
  forbid(verdict, 'found by the comparison only', late, (event) => `${event.drift} ${describe(event)}`)
  forbid(verdict, 'told as confirmed, but not so', untrue)
  forbid(verdict, 'told as failed, then paid', mended)
  forbid(verdict, 'told as a failed refund, then made', mendedRefunds, ({ id, paymentId }) =>
    [id, 'of', paymentId].join(' '),
  )
}

function toldFailed(events: readonly EventView[] | undefined): boolean {
  return events?.some(({ type }) => type === 'refund.failed') ?? false
}

function describe({ id, type, paymentId }: EventView): string {
  return `${id} ${type} of ${paymentId}`
}
