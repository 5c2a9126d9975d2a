import type { Shop } from './shop.ts'

export interface StoredEvent {
  id: string
  type: string
  ref: string
}

/** What the database holds at the end. */
export interface Facts {
  stored: StoredEvent[]
  /** `endpoint event` of every delivery that is still to be made. */
  open: Set<string>
  /** Deliveries that were given up. */
  dead: Array<{ id: string; error: string }>
}

export async function collectFacts({ api, tenants }: Shop): Promise<Facts> {
  const stored = await api.query('select id, type, body from events where tenant_id = any ($1)', [tenants])
  const open = await api.query(`select series, ref from work where kind = 'delivery'`)
  const dead = await api.query(`select ref, error from dead_work where kind = 'delivery'`)
  return {
    stored: stored.flatMap((row) => {
      const { ref } = JSON.parse(String(row['body'])) as { ref?: string }
      return ref === undefined ? [] : [{ id: String(row['id']), type: String(row['type']), ref }]
    }),
    open: new Set(open.map((row) => deliveryName(String(row['series']), String(row['ref'])))),
    dead: dead.map((row) => ({ id: String(row['ref']), error: String(row['error']) })),
  }
}

export function deliveryName(endpointId: string, eventId: string): string {
  return `${endpointId} ${eventId}`
}

/** Deliveries to these paths that are still to be made. */
export async function countOpen({ api, endpointIds }: Shop, paths: readonly string[]): Promise<number> {
  const series = paths.map((path) => endpointIds.get(path))
  const [row] = await api.query('select count(*)::int as count from work where series = any ($1)', [series])
  return Number(row?.['count'])
}
