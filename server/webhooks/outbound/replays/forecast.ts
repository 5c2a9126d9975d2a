import type { Context } from '#core/context.ts'
import type { EndpointRow } from '../queries.ts'
import type { ReplayForecast } from './schema.ts'
import type { Selection } from './selection.ts'
import { type Candidate, readStretch } from './stretch.ts'

const mostLookedAt = 50_000
const longestMs = 5_000

/** What a replay would send, without sending it: the same look through the log, up to a bound. */
export async function forecastReplay(
  context: Context,
  selection: Selection,
  endpoints: readonly EndpointRow[],
): Promise<ReplayForecast> {
  const startedAt = performance.now()
  const counts = new Map<string, ReplayForecast['counts'][number]>()
  let lookedAt = 0
  for (const endpoint of endpoints) {
    for (let after: string | undefined = selection.first_id; after !== undefined;) {
      if (lookedAt >= mostLookedAt || performance.now() - startedAt > longestMs)
        return present(counts, lookedAt, false)
      const stretch = await readStretch(context.database.system, selection, endpoint, {
        after,
        now: context.now(),
      })
      for (const candidate of stretch.candidates) count(counts, endpoint.id, candidate)
      lookedAt += stretch.lookedAt
      after = stretch.last
    }
  }
  return present(counts, lookedAt, true)
}

function count(
  counts: Map<string, ReplayForecast['counts'][number]>,
  endpointId: string,
  { event, state, sends }: Candidate,
): void {
  const key = `${endpointId} ${event.type} ${state}`
  const known = counts.get(key)
  if (known === undefined)
    counts.set(key, { endpoint_id: endpointId, type: event.type, state, events: 1, sends })
  else known.events += 1
}

function present(
  counts: ReadonlyMap<string, ReplayForecast['counts'][number]>,
  lookedAt: number,
  complete: boolean,
): ReplayForecast {
  const rows = [...counts.values()]
  const toSend = rows.filter(({ sends }) => sends).reduce((sum, { events }) => sum + events, 0)
  return { to_send: toSend, counts: rows, looked_at: lookedAt, complete }
}
