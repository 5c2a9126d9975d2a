import type { Context } from '#core/context.ts'
import { PipeError } from '#core/errors.ts'
import { createGroup } from '#core/grouped.ts'
import { createRecent } from '#core/recent.ts'
import { type OpenEndpoint, openEndpoint } from './endpoints.ts'
import { type EventRow, findDeliveryEndpoints, findEvents, type DeliveryEndpointRow } from './queries.ts'

/** What a delivery needs. */
export interface DeliverySource {
  /** Undefined when it is past its retention. */
  event: EventRow | undefined
  /** Undefined when it was deleted. */
  endpoint: DeliveryEndpointRow | undefined
}

interface Wanted {
  eventId: string
  endpointId: string
}

const maxBatch = 200

/** Reads events and endpoints for many deliveries at once: what is asked for while a read runs forms the next one. */
export function createDeliverySource({ database }: Context): (wanted: Wanted) => Promise<DeliverySource> {
  return createGroup<Wanted, DeliverySource>({
    maxSize: maxBatch,
    inFlight: 2,
    flush: async (wanted) => {
      const [events, endpoints] = await Promise.all([
        findEvents(database.system, [...new Set(wanted.map(({ eventId }) => eventId))]),
        findDeliveryEndpoints(database.system, [...new Set(wanted.map(({ endpointId }) => endpointId))]),
      ])
      const eventOf = new Map(events.map((event) => [event.id, event]))
      const endpointOf = new Map(endpoints.map((endpoint) => [endpoint.id, endpoint]))
      return wanted.map(({ eventId, endpointId }) => ({
        event: eventOf.get(eventId),
        endpoint: endpointOf.get(endpointId),
      }))
    },
  })
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
