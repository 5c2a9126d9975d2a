import type { EventView, Facts } from './facts.ts'
import type { Receiver } from './receiver.ts'
import { count, forbid, groupBy, type Verdict } from './verdict.ts'

/** Every event reached the backend whole; every fact has its event, once. */
export function judgeEvents(verdict: Verdict, facts: Facts, receiver: Receiver): void {
  judgeDeliveries(verdict, facts, receiver)
  judgeCompleteness(verdict, facts)
}

function judgeDeliveries(verdict: Verdict, facts: Facts, { arrivals, faults, refused }: Receiver): void {
  const { events } = facts
  const countTaken = (id: string) => arrivals.get(id)?.filter(({ isTaken }) => isTaken).length ?? 0
  const bodies = new Map(events.map(({ id, body }) => [id, body]))
  const listed = new Set(facts.listedEvents)
  const all = [...arrivals.values()].flat()
  count(verdict, 'events', events.length)
  count(verdict, 'events delivered', events.filter(({ id }) => countTaken(id) > 0).length)
  count(verdict, 'deliveries received', all.length)
  count(verdict, 'failed on purpose (500, cut, slow)', faults.error + faults.cut + faults.slow)
  count(verdict, 'events taken twice or more', events.filter(({ id }) => countTaken(id) > 1).length)
  const missing = events.filter(({ id }) => countTaken(id) === 0)
  const changed = [...arrivals].filter(([id, came]) => came.some(({ text }) => text !== bodies.get(id)))
  const unlisted = events.filter(({ id }) => !listed.has(id))
  forbid(verdict, 'events missing', missing, describeEvent)
  forbid(verdict, 'deliveries with a wrong signature', refused)
  forbid(verdict, 'delivered, but not as recorded', changed, ([id]) => id)
  forbid(verdict, 'events that the API does not list', unlisted, describeEvent)
}

function describeEvent({ id, type, entity }: EventView): string {
  return `${id} ${type} of ${entity}`
}

function judgeCompleteness(verdict: Verdict, facts: Facts): void {
  const byFact = groupBy(facts.events, ({ entity, type }) => `${entity} ${type}`)
  const repeated = [...byFact].filter(([, same]) => same.length > 1)
  const untold = facts.messages.flatMap(({ id, status, direction }) => {
    const needed = new Set([direction === 'in' ? 'received' : 'queued', status])
    return [...needed].filter((name) => !byFact.has(`${id} message.${name}`)).map((name) => `${id} ${name}`)
  })
  forbid(verdict, 'facts with two events', repeated, ([fact]) => fact)
  forbid(verdict, 'facts without an event', untold)
}
