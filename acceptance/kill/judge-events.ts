import type { EventView, Facts } from './facts.ts'
import type { Receiver } from './receiver.ts'
import { count, forbid, groupBy, type Verdict } from './verdict.ts'

/** Every event reached the backend whole; every fact has its event, once. */
export function judgeEvents(verdict: Verdict, facts: Facts, receiver: Receiver): void {
  judgeDeliveries(verdict, facts, receiver)
  judgeCompleteness(verdict, facts)
}

function judgeDeliveries(verdict: Verdict, facts: Facts, receiver: Receiver): void {
  const { events, listedEvents } = facts
  const { arrivals, faults, refused } = receiver
  const all = [...arrivals.values()].flat()
  count(verdict, 'events', events.length)
  count(verdict, 'events delivered', events.filter(({ id }) => isTaken(receiver, id)).length)
  count(verdict, 'deliveries received', all.length)
  count(verdict, 'failed on purpose (500, cut, slow)', faults.error + faults.cut + faults.slow)
  count(verdict, 'events taken twice or more', countRepeated(receiver))
  const missing = events.filter(({ id }) => !isTaken(receiver, id))
  forbid(verdict, 'events missing', missing.map(describeEvent))
  forbid(verdict, 'deliveries with a wrong signature', refused)
  const bodies = new Map(events.map(({ id, body }) => [id, body]))
  const changed = [...arrivals].filter(([id, came]) => came.some(({ text }) => text !== bodies.get(id)))
  forbid(
    verdict,
    'delivered, but not as recorded',
    changed.map(([id]) => id),
  )
  const listed = new Set(listedEvents)
  const unlisted = events.filter(({ id }) => !listed.has(id))
  forbid(verdict, 'events that the API does not list', unlisted.map(describeEvent))
}

function isTaken({ arrivals }: Receiver, eventId: string): boolean {
  return arrivals.get(eventId)?.some((arrival) => arrival.isTaken) ?? false
}

function countRepeated({ arrivals }: Receiver): number {
  return [...arrivals.values()].filter((came) => came.filter((arrival) => arrival.isTaken).length > 1).length
}

function describeEvent({ id, type, entity }: EventView): string {
  return `${id} ${type} of ${entity}`
}

function judgeCompleteness(verdict: Verdict, facts: Facts): void {
  const byFact = groupBy(facts.events, ({ entity, type }) => `${entity} ${type}`)
  const repeated = [...byFact].filter(([, same]) => same.length > 1)
  forbid(
    verdict,
    'facts with two events',
    repeated.map(([fact]) => fact),
  )
  const untold = facts.messages.flatMap(({ id, status, direction }) => {
    const needed = new Set([direction === 'in' ? 'received' : 'queued', status])
    return [...needed].filter((name) => !byFact.has(`${id} message.${name}`)).map((name) => `${id} ${name}`)
  })
  forbid(verdict, 'facts without an event', untold)
}
