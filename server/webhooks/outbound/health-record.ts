import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { createTraceId } from '#core/trace.ts'
import { changeSeries } from '#jobs'
import { recordEvents } from './events.ts'
import { firstHealth, type Sighting, stepHealth } from './health.ts'
import {
  type EndpointRow,
  findEndpoint,
  type HealthRow,
  lockHealth,
  saveHealth,
  updateEndpoint,
} from './queries.ts'

const dayMs = 24 * 60 * 60 * 1000

/**
 * Writes what attempts made of an endpoint's health, inside the transaction that ends them: each change of state is
 * one event, whichever process saw it.
 */
export async function recordHealth(
  context: Context,
  db: Kysely<Tables>,
  endpointId: string,
  sightings: readonly Sighting[],
): Promise<void> {
  const now = context.now()
  const health = await lockHealth(db, firstHealth(endpointId, now))
  const endpoint = await findEndpoint(db, endpointId)
  if (endpoint === undefined || !endpoint.active) return
  const disabledAfterMs = context.config.endpointDisabledAfterDays * dayMs
  let current = health
  for (const seen of sightings) {
    const step = stepHealth(endpoint, current, seen, { now, disabledAfterMs })
    current = step.health
    if (step.series !== undefined) await changeSeries(db, endpointId, step.series)
    for (const { type, percent } of step.events) await tell(db, endpoint, current, { type, percent }, now)
    if (step.disabledReason !== undefined) {
      const change = { active: false, disabled_reason: step.disabledReason, updated_at: now }
      await updateEndpoint(db, endpointId, change)
      break
    }
  }
  await saveHealth(db, current)
}

/** Events of a product's endpoint belong to no tenant: they go to the endpoints of the product. */
async function tell(
  db: Kysely<Tables>,
  endpoint: EndpointRow,
  health: HealthRow,
  { type, percent }: { type: string; percent: number | undefined },
  now: Date,
): Promise<void> {
  const scope = {
    tenantId: endpoint.tenant_id ?? '',
    productId: endpoint.product_id,
    traceId: createTraceId(),
  }
  const data = {
    endpoint_id: endpoint.id,
    // A product's endpoint has none.
    tenant_id: endpoint.tenant_id,
    url: endpoint.url,
    failing_since: health.failing_since?.toISOString() ?? null,
    last_error: health.last_error,
    ...(percent !== undefined && { percent }),
  }
  await recordEvents(db, scope, [{ type, entity: endpoint.id, occurredAt: now, data }], now)
}
