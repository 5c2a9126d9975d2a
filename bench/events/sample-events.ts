import { randomUUID } from 'node:crypto'
import { createId } from '../../server/core/ids.ts'

export const sampleType = 'order.paid'

export function sampleTenants(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench_${index + 1}`)
}

export const sampleSchema = {
  type: 'object',
  properties: {
    order_id: { type: 'string', maxLength: 64 },
    amount: { type: 'integer', minimum: 1 },
    currency: { enum: ['CLP', 'USD'] },
    paid_at: { type: 'string', format: 'date-time' },
    customer: {
      type: 'object',
      properties: { name: { type: 'string' }, email: { type: 'string' }, phone: { type: 'string' } },
      required: ['name'],
    },
    lines: {
      type: 'array',
      items: {
        type: 'object',
        properties: { sku: { type: 'string' }, name: { type: 'string' }, amount: { type: 'integer' } },
        required: ['sku', 'amount'],
      },
    },
    note: { type: 'string' },
  },
  required: ['order_id', 'amount', 'currency'],
  additionalProperties: false,
}

export interface SampleEvent {
  tenant_id: string
  type: string
  entity: string
  data: Record<string, unknown>
}

/** What is posted to `POST /events`, about 1 KB each, of the tenants in turn. */
export function sampleEvents(count: number, tenants: number): SampleEvent[] {
  const ids = sampleTenants(tenants)
  return Array.from({ length: count }, (_, index) => ({
    tenant_id: ids[index % ids.length] ?? '',
    type: sampleType,
    entity: `ORD-${index}`,
    data: {
      order_id: `ORD-${index}`,
      amount: 15_990 + index,
      currency: 'CLP',
      paid_at: '2026-11-29T12:00:00Z',
      customer: { name: 'Juan Pérez', email: 'juan@email.com', phone: '+56988888888' },
      lines: Array.from({ length: 8 }, (_unused, line) => ({
        sku: `SKU-${line}`,
        name: `Cazuela de vacuno, porción ${line}`,
        amount: 1_990,
      })),
      note: 'Sin cebolla, por favor. '.repeat(10),
    },
  }))
}

export interface Delivery {
  id: string
  body: string
}

/** The same events as PipeCore would post them. */
export function sampleDeliveries(count: number, tenants: number): Delivery[] {
  return sampleEvents(count, tenants).map(toDelivery)
}

export function toDelivery({
  tenant_id,
  type,
  data,
}: Pick<SampleEvent, 'tenant_id' | 'type' | 'data'>): Delivery {
  const id = createId('evt')
  const head = { id, event: type, tenant_id, occurred_at: new Date().toISOString() }
  return { id, body: JSON.stringify({ ...head, trace_id: randomUUID().replaceAll('-', ''), ...data }) }
}
