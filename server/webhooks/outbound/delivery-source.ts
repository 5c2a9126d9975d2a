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
  read(item: WorkItem): Promise<DeliverySource>
  /** The endpoint is not as it was. */
  forgetEndpoint(id: string): void
}

const maxBatch = 200
const mostExpected = 1_000
const expectedForMs = 15_000
const mostEndpoints = 5_000
/** So old an active endpoint's state may be: calls that are under way know no better either. */
const endpointForMs = 100

/** Reads events and endpoints for many deliveries at once. */
export function createDeliverySources({ database }: Context): DeliverySources {
  const expected = createRecent<string, Promise<EventRow | undefined>>({
    most: mostExpected,
    forMs: expectedForMs,
  })
  const endpoints = createRecent<string, Promise<DeliveryEndpointRow | undefined>>({
    most: mostEndpoints,
    forMs: endpointForMs,
  })
  const readEvent = createGroup<string, EventRow | undefined>({
    maxSize: maxBatch,
    inFlight: 2,
    flush: async (ids) => {
      const events = await findEvents(database.system, [...new Set(ids)])
      const eventOf = new Map(events.map((event) => [event.id, event]))
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
  function recentEndpoint(id: string): Promise<DeliveryEndpointRow | undefined> {
    const known = endpoints.get(id)
    if (known !== undefined) return known
    const endpoint = readEndpoint(id)
    endpoints.set(id, endpoint)
    endpoint.then(
      (row) => (row?.active === true && (row.health ?? 'healthy') === 'healthy') || endpoints.forget(id),
      () => endpoints.forget(id),
    )
    return endpoint
  }
  return {
    expect(items) {
      for (const { id, ref } of items) {
        const event = readEvent(ref)
        // Who needs it hears of the failure.
        event.catch(() => expected.forget(id))
        expected.set(id, event)
      }
    },
    async read(item) {
      const event = expected.get(item.id) ?? readEvent(item.ref)
      expected.forget(item.id)
      const endpointId = endpointOf(item)
      const [eventRow, endpointRow] = await Promise.all([event, recentEndpoint(endpointId)])
      return { event: eventRow, endpoint: endpointRow }
    },
    forgetEndpoint: (id) => endpoints.forget(id),
  }
}

export function endpointOf({ series, lane }: WorkItem): string {
  return series ?? lane
}

/** Opens endpoints, remembering those whose sealed columns are still the same. Undefined: the master key does not fit. */
export function createEndpointOpener(
  context: Context,
): (row: DeliveryEndpointRow) => Promise<OpenEndpoint | undefined> {
  const opened = createRecent<string, OpenEndpoint>({ most: 5_000, forMs: 10 * 60_000 })
  return async (row) => {
    const overlaps = row.previous_secret_expires_at !== null && row.previous_secret_expires_at > context.now()
    const key = [row.id, row.url, row.sealed_secret, row.sealed_headers, overlaps].join(' ')
    const known = opened.get(key)
    if (known !== undefined) return known
    try {
      const open = await openEndpoint(context, row)
      opened.set(key, open)
      return open
    } catch (error) {
      if (error instanceof PipeError) return undefined
      throw error
    }
  }
}
