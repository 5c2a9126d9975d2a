import type { Context } from '#core/context.ts'
import { PipeError } from '#core/errors.ts'
import { createGroup } from '#core/grouped.ts'
import { createRecent } from '#core/recent.ts'
import type { WorkItem } from '#jobs'
import { type OpenEndpoint, openEndpoint } from './endpoints.ts'
import { type EventRow, findDeliveryEndpoints, findEvents, type DeliveryEndpointRow } from './queries.ts'

/** What a delivery needs. */
export interface DeliverySource {
  /** Undefined when it is past its retention. */
  event: EventRow | undefined
  /** Undefined when it was deleted. */
  endpoint: DeliveryEndpointRow | undefined
}

export interface DeliverySources {
  /** Reads the events of what is delivered soon in one go. */
  expect(items: readonly WorkItem[]): void
  /** What was read already: nothing is waited for then, as mostly. */
  known(item: WorkItem): DeliverySource | undefined
  read(item: WorkItem): Promise<DeliverySource>
  /** The endpoint is not as it was. */
  forgetEndpoint(id: string): void
}

const maxBatch = 200
/** More than a worker's claims that wait or begin. */
const mostExpected = 1_000
const expectedForMs = 15_000
const mostEndpoints = 5_000
/** So old an active endpoint's state may be, and half as old again while it is read: calls under way know no better. */
const endpointForMs = 100
const renewAfterMs = endpointForMs / 2

/** Reads events and endpoints for many deliveries at once. */
export function createDeliverySources({ database }: Pick<Context, 'database'>): DeliverySources {
  /** What was read with the others of its claim, by delivery. */
  const expected = createRecent<string, Reading<Map<string, EventRow>>>({
    most: mostExpected,
    forMs: expectedForMs,
  })
  const endpoints = createRecent<string, Reading<DeliveryEndpointRow | undefined>>({
    most: mostEndpoints,
    forMs: endpointForMs,
  })
  async function readEvents(ids: readonly string[]): Promise<Map<string, EventRow>> {
    const events = await findEvents(database.system, [...new Set(ids)])
    return new Map(events.map((event) => [event.id, event]))
  }
  const readEvent = createGroup<string, EventRow | undefined>({
    maxSize: maxBatch,
    inFlight: 2,
    flush: async (ids) => {
      const eventOf = await readEvents(ids)
      return ids.map((id) => eventOf.get(id))
    },
  })
  const readEndpoint = createGroup<string, DeliveryEndpointRow | undefined>({
    maxSize: maxBatch,
    inFlight: 2,
    flush: async (ids) => {
      const rows = await findDeliveryEndpoints(database.system, ids)
      const rowOf = new Map(rows.map((row) => [row.id, row]))
      return ids.map((id) => rowOf.get(id))
    },
  })
  /** Of one in use the next state is read before nobody may know the last one any more: no delivery waits for it. */
  function recentEndpoint(id: string): Reading<DeliveryEndpointRow | undefined> {
    const recent = endpoints.get(id)
    if (recent !== undefined && !isDue(recent)) return recent
    const endpoint = startReading(readEndpoint(id), recent?.known)
    endpoints.set(id, endpoint)
    endpoint.coming.then(
      (row) => (row?.active === true && (row.health ?? 'healthy') === 'healthy') || endpoints.forget(id),
      () => endpoints.forget(id),
    )
    return endpoint
  }
  return {
    expect(items) {
      for (let from = 0; from < items.length; from += maxBatch) {
        const some = items.slice(from, from + maxBatch)
        const events = startReading(readEvents(some.map(({ ref }) => ref)))
        for (const { id } of some) expected.set(id, events)
        // Who needs one hears of the failure.
        events.coming.catch(() => some.forEach(({ id }) => expected.forget(id)))
      }
    },
    known(item) {
      const events = expected.get(item.id)?.known
      const endpoint = recentEndpoint(endpointOf(item)).known
      if (events === undefined || endpoint?.value === undefined) return undefined
      if (ageOf(endpoint) > endpointForMs + renewAfterMs) return undefined
      expected.forget(item.id)
      return { event: events.value.get(item.ref), endpoint: endpoint.value }
    },
    async read(item) {
      const events = expected.get(item.id)
      expected.forget(item.id)
      const endpoint = recentEndpoint(endpointOf(item)).coming
      const event = events === undefined ? await readEvent(item.ref) : (await events.coming).get(item.ref)
      return { event, endpoint: await endpoint }
    },
    forgetEndpoint: (id) => endpoints.forget(id),
  }
}

interface Known<Value> {
  value: Value
  /** When its reading began, of the monotonic clock. */
  since: number
}

interface Reading<Value> {
  since: number
  coming: Promise<Value>
  /** What came; until then what was read before, if anything. */
  known: Known<Value> | undefined
}

function startReading<Value>(coming: Promise<Value>, before?: Known<Value>): Reading<Value> {
  const reading: Reading<Value> = { since: performance.now(), coming, known: before }
  coming.then(
    (value) => (reading.known = { value, since: reading.since }),
    () => undefined,
  )
  return reading
}

/** What still comes is not asked for again: with each time what was known before would be believed for longer. */
function isDue<Value>(reading: Reading<Value>): boolean {
  return reading.known?.since === reading.since && ageOf(reading) >= renewAfterMs
}

function ageOf({ since }: { since: number }): number {
  return performance.now() - since
}

export function endpointOf({ series, lane }: WorkItem): string {
  return series ?? lane
}

type Opening = Promise<OpenEndpoint | undefined>

/** Opens endpoints, remembering those whose sealed columns are still the same. Undefined: the master key does not fit. */
export function createEndpointOpener(context: Context): (row: DeliveryEndpointRow) => Opening {
  const opened = createRecent<string, OpenEndpoint>({ most: 5_000, forMs: 10 * 60_000 })
  /** Of rows that many deliveries share for a moment. */
  const ofRow = new WeakMap<DeliveryEndpointRow, { overlaps: boolean; opening: Opening }>()
  async function open(row: DeliveryEndpointRow, overlaps: boolean): Opening {
    const key = [row.id, row.url, row.sealed_secret, row.sealed_headers, overlaps].join(' ')
    const known = opened.get(key)
    if (known !== undefined) return known
    try {
      const endpoint = await openEndpoint(context, row)
      opened.set(key, endpoint)
      return endpoint
    } catch (error) {
      if (error instanceof PipeError) return undefined
      throw error
    }
  }
  return (row) => {
    const overlaps = row.previous_secret_expires_at !== null && row.previous_secret_expires_at > context.now()
    const known = ofRow.get(row)
    if (known?.overlaps === overlaps) return known.opening
    const opening = open(row, overlaps)
    ofRow.set(row, { overlaps, opening })
    return opening
  }
}
