import type { Kysely } from 'kysely'
import type { Tables } from '#core/database.ts'
import { wants } from '../events.ts'
import { findMatching } from '../filters/queries.ts'
import type { EndpointRow } from '../queries.ts'
import { type Fate, listFates, listLog, type LoggedEvent } from './queries.ts'
import type { Selection } from './selection.ts'

/** One event at the endpoint, with what became of it there. */
export interface Candidate extends Fate {
  event: LoggedEvent
  /** Events of the stretch up to this one. */
  place: number
  /** The plan has it sent again. */
  sends: boolean
}

export interface Stretch {
  /** In the order of their ids; only what the endpoint takes and the plan asks for. */
  candidates: Candidate[]
  lookedAt: number
  /** The last event that was looked at; undefined at the end of the span. */
  last: string | undefined
}

const eventsPerStretch = 1_000

/** Looks through the next stretch of the log for one endpoint: dry runs and replays decide by this alone. */
export async function readStretch(
  db: Kysely<Tables>,
  selection: Selection,
  endpoint: EndpointRow,
  { after, now }: { after: string; now: Date },
): Promise<Stretch> {
  const logged = await listLog(db, {
    productId: selection.product_id,
    tenantId: endpoint.tenant_id ?? soleOf(selection.tenant_ids),
    after,
    end: selection.end_id,
    limit: eventsPerStretch,
  })
  const ofTypes = logged
    .map((event, index) => ({ event, place: index + 1 }))
    .filter(({ event }) => isWanted(selection, endpoint, event))
  const wanted = await filterBodies(db, endpoint, ofTypes)
  const fates = await listFates(
    db,
    endpoint.id,
    wanted.map(({ event }) => event.id),
    now,
  )
  const fateOf = new Map(fates.map((fate) => [fate.id, fate]))
  const candidates = wanted.flatMap(({ event, place }) => {
    const fate = fateOf.get(event.id)
    if (fate === undefined) return []
    const told = event.has_body ? fate : { ...fate, state: 'body_gone' as const }
    return [{ ...told, event, place, sends: isSent(selection, told) }]
  })
  const last = logged.length === eventsPerStretch ? logged.at(-1)?.id : undefined
  return { candidates, lookedAt: logged.length, last }
}

async function filterBodies<Entry extends { event: LoggedEvent }>(
  db: Kysely<Tables>,
  { filter_path: path }: EndpointRow,
  entries: Entry[],
): Promise<Entry[]> {
  if (path === null || entries.length === 0) return entries
  const ids = entries.map(({ event }) => event.id)
  const matching = await findMatching(db, ids, path)
  return entries.filter(({ event }) => !event.has_body || matching.has(event.id))
}

function soleOf(tenantIds: readonly string[] | null): string | undefined {
  return tenantIds?.length === 1 ? tenantIds[0] : undefined
}

function isWanted(selection: Selection, endpoint: EndpointRow, event: LoggedEvent): boolean {
  const { tenant_ids: tenantIds, types } = selection
  return (
    event.product_id === endpoint.product_id &&
    (tenantIds === null || tenantIds.includes(event.tenant_id)) &&
    (types === null || wants(types, event.type)) &&
    wants(endpoint.events, event.type)
  )
}

function isSent({ states }: Selection, { state }: Fate): boolean {
  return state !== 'waiting' && state !== 'body_gone' && states.includes(state)
}
