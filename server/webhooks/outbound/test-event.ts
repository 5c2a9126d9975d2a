import type { Context } from '#core/context.ts'
import { createId } from '#core/ids.ts'
import type { EndpointRow, WholeEvent } from './queries.ts'

/** An event that is never stored: only for trying an endpoint. */
export function testEvent(context: Context, endpoint: EndpointRow, traceId: string): WholeEvent {
  const now = context.now()
  const id = createId('evt', now)
  const tenantId = endpoint.tenant_id ?? ''
  const body = {
    id,
    event: 'webhook.test',
    tenant_id: endpoint.tenant_id,
    occurred_at: now.toISOString(),
    trace_id: traceId,
    endpoint_id: endpoint.id,
  }
  return {
    id,
    tenant_id: tenantId,
    product_id: endpoint.product_id,
    type: 'webhook.test',
    version: 1,
    entity: endpoint.id,
    body: JSON.stringify(body),
    older: null,
    trace_id: traceId,
    occurred_at: now,
  }
}
