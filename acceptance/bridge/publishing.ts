import { createClient } from '../harness.ts'
import { pause, within } from '../chaos/calls.ts'
import { createRandom, type Random } from '../kill/random.ts'
import type { Shop } from './shop.ts'

/** An event as its publisher remembers it. */
export interface Published {
  ref: string
  type: string
  tenantId: string
  entity: string
  place: number
  /** When the first call about it left; milliseconds since 1970. */
  askedAt: number
  /** When it was answered 202; undefined: nobody said whether it was taken. */
  acceptedAt: number | undefined
  /** The ids that were answered: several when one call was answered twice. */
  ids: string[]
}

export interface Publishing {
  seed: number
  publishers: number
  /** Between two calls of one publisher. */
  pauseMs: number
  /** Share of each type. */
  types: ReadonlyArray<readonly [type: string, share: number]>
  isOver(published: readonly Published[]): boolean
}

export interface Publications {
  events: Published[]
  /** Calls that got no answer, or one that says: try again. */
  lostCalls: number
  /** What nobody should be answered. */
  problems: string[]
}

const entitiesEach = 4
const largestBatch = 12
const batchShare = 0.15
const keyedShare = 0.5
const longestCallMs = 10_000
const retryMs = 150
const givenUpAfterMs = 120_000

/**
 * Backends that publish at the same time, each about entities of its own and one call after the other. Half of the
 * calls carry a key and are repeated until they are answered; the others are made once, whatever comes back.
 */
export async function publish(shop: Shop, options: Publishing): Promise<Publications> {
  const publications: Publications = { events: [], lostCalls: 0, problems: [] }
  const publishers = Array.from({ length: options.publishers }, async (_, index) => {
    const random = createRandom(options.seed + 100 + index)
    const places = new Map<string, number>()
    while (!options.isOver(publications.events)) {
      const events = planCall(shop, random, { index, places }, options)
      publications.events.push(...events)
      await publishOnce(shop, events, random.next() < keyedShare, publications)
      await pause(random.between(0, 2 * options.pauseMs))
    }
  })
  await Promise.all(publishers)
  return publications
}

function planCall(
  { tenants }: Shop,
  random: Random,
  { index, places }: { index: number; places: Map<string, number> },
  { types }: Publishing,
): Published[] {
  const tenantId = tenants[index % tenants.length]!
  const count = random.next() < batchShare ? Math.ceil(random.between(1, largestBatch)) : 1
  return Array.from({ length: count }, () => {
    const entity = `entity-${index}-${Math.floor(random.between(0, entitiesEach))}`
    const place = (places.get(entity) ?? 0) + 1
    places.set(entity, place)
    const type = chooseType(random, types)
    return {
      ref: `${entity}-${place}`,
      type,
      tenantId,
      entity,
      place,
      askedAt: Date.now(),
      acceptedAt: undefined,
      ids: [],
    }
  })
}

function chooseType(random: Random, types: Publishing['types']): string {
  let left = random.next() * types.reduce((sum, [, share]) => sum + share, 0)
  return (types.find(([, share]) => (left -= share) < 0) ?? types[0]!)[0]
}

async function publishOnce(
  shop: Shop,
  events: Published[],
  isKeyed: boolean,
  publications: Publications,
): Promise<void> {
  const inputs = events.map(({ tenantId, type, ref, entity, place }) => ({
    tenant_id: tenantId,
    type,
    entity,
    data: { ref, entity, place },
  }))
  const body = inputs.length === 1 ? inputs[0] : { events: inputs }
  const headers = isKeyed ? { 'idempotency-key': events[0]!.ref } : undefined
  const startedAt = performance.now()
  do {
    // Its own client: a shared one would keep every exchange of thousands of calls.
    const client = createClient(shop.api.url, shop.key)
    const answer = await within(
      client.call<{ id?: string; data?: Array<{ id: string }> }>('POST', '/events', body, headers),
      longestCallMs,
    )
    if (answer?.status === 202) return accept(events, answer.body.data ?? [{ id: answer.body.id ?? '' }])
    publications.lostCalls += 1
    if (answer !== undefined && answer.status < 500) {
      publications.problems.push(`${answer.status} ${answer.text}`)
      return
    }
    if (isKeyed) await pause(retryMs)
  } while (isKeyed && performance.now() - startedAt < givenUpAfterMs)
  if (isKeyed) publications.problems.push(`${events[0]!.ref} was never answered`)
}

function accept(events: readonly Published[], answered: ReadonlyArray<{ id: string }>): void {
  for (const [index, event] of events.entries()) {
    event.ids.push(answered[index]?.id ?? 'none')
    event.acceptedAt = Date.now()
  }
}
