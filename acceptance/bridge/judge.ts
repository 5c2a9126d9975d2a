import { count, createVerdict, forbid, type Verdict } from '../kill/verdict.ts'
import { deliveryName, type Facts, type StoredEvent } from './facts.ts'
import { judgeLimits } from './judge-limits.ts'
import { judgeRepeats } from './judge-repeats.ts'
import { type Disturbance, nameNearest } from './disturbances.ts'
import type { Publications, Published } from './publishing.ts'
import type { Arrival } from './receiver.ts'
import type { EndpointPlan, Shop } from './shop.ts'

export interface Played {
  publications: Publications
  facts: Facts
  disturbances: readonly Disturbance[]
}

/** Compares what was accepted, what is stored and what arrived. */
export function judge(shop: Shop, played: Played): Verdict {
  const verdict = createVerdict()
  judgeIntake(verdict, played)
  judgeArrival(verdict, shop, played)
  judgeRepeats(verdict, shop, played.disturbances)
  for (const plan of shop.endpoints) {
    if (plan.ordered) judgeOrder(verdict, shop.receiver.arrivals.get(plan.path) ?? [])
    judgeLimits(verdict, shop.receiver, plan)
  }
  forbid(verdict, 'requests with a wrong signature, or to nobody', shop.receiver.refused)
  return verdict
}

function judgeIntake(verdict: Verdict, { publications, facts, disturbances }: Played): void {
  const { events, lostCalls, problems } = publications
  const accepted = events.filter(({ acceptedAt }) => acceptedAt !== undefined)
  const byRef = Map.groupBy(facts.stored, ({ ref }) => ref)
  const ids = new Set(facts.stored.map(({ id }) => id))
  const unanswered = facts.stored.length - accepted.length
  count(verdict, 'accepted', accepted.length)
  count(verdict, 'stored, but never answered', Math.max(0, unanswered))
  count(verdict, 'calls that were not answered, or with 5xx', lostCalls)
  forbid(
    verdict,
    'accepted, but not stored',
    accepted.filter((event) => event.ids.some((id) => !ids.has(id))),
    (event) => describe(event, disturbances),
  )
  forbid(
    verdict,
    'published once, stored twice',
    [...byRef].filter(([, same]) => same.length > 1),
    ([ref, same]) => `${ref} as ${same.map(({ id }) => id).join(' and ')}`,
  )
  forbid(verdict, 'refused publishes', problems)
}

function judgeArrival(verdict: Verdict, shop: Shop, { publications, facts, disturbances }: Played): void {
  const byRef = new Map(publications.events.map((event) => [event.ref, event]))
  const lost: string[] = []
  let delivered = 0
  let waiting = 0
  for (const event of facts.stored) {
    for (const plan of shop.endpoints.filter(({ events }) => events.includes(event.type))) {
      const fate = findFate(shop, plan, event, facts)
      if (fate === 'delivered') delivered += 1
      if (fate === 'waiting') waiting += 1
      const published = byRef.get(event.ref)
      if (fate === 'lost') {
        lost.push(`${plan.path} ${published ? describe(published, disturbances) : event.id}`)
      }
    }
  }
  count(verdict, 'delivered', delivered)
  count(verdict, 'waiting for their turn', waiting)
  forbid(verdict, 'lost', lost)
  forbid(verdict, 'given up', facts.dead, ({ id, error }) => `${id}: ${error}`)
}

function findFate(
  { receiver, endpointIds }: Shop,
  { path }: EndpointPlan,
  { id }: StoredEvent,
  { open }: Facts,
): 'delivered' | 'waiting' | 'lost' {
  if (receiver.arrivalsOf(path, id).some(({ isTaken }) => isTaken)) return 'delivered'
  return open.has(deliveryName(endpointIds.get(path) ?? '', id)) ? 'waiting' : 'lost'
}

/** Of an entity nothing comes before what was published earlier, nor again after what was published later. */
function judgeOrder(verdict: Verdict, arrivals: readonly Arrival[]): void {
  const latest = new Map<string, Arrival>()
  const taken = new Set<string>()
  const wrong: string[] = []
  for (const arrival of arrivals) {
    const before = latest.get(arrival.entity)
    const isNext = before === undefined || arrival.place > before.place
    const isTooEarly = isNext && before !== undefined && !taken.has(before.ref)
    if (isTooEarly) wrong.push(`${arrival.ref} before ${before.ref} had arrived`)
    if (!isNext && arrival.place < before.place) wrong.push(`${arrival.ref} after ${before.ref}`)
    if (isNext) latest.set(arrival.entity, arrival)
    if (arrival.isTaken) taken.add(arrival.ref)
  }
  count(verdict, 'requests to the ordered endpoint', arrivals.length)
  forbid(verdict, 'out of order', wrong)
}

function describe({ ref, ids, acceptedAt }: Published, disturbances: readonly Disturbance[]): string {
  const near = acceptedAt === undefined ? 'never answered' : nameNearest(disturbances, acceptedAt)
  return `${ref} ${ids.join()} (${near})`
}
