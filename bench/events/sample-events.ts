export const sampleType = 'order.paid'
export const sampleTenants = ['bench_1', 'bench_2', 'bench_3', 'bench_4']

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

/** Bodies of `POST /events`, about 1 KB each. */
export function sampleEvents(count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      tenant_id: sampleTenants[index % sampleTenants.length],
      type: sampleType,
      entity: `ORD-${index}`,
      data: {
        order_id: `ORD-${index}`,
        amount: 15_990 + index,
        currency: 'CLP',
        paid_at: '2026-11-29T12:00:00Z',
        customer: { name: 'Juan Pérez', email: 'juan@email.com', phone: '+56988888888' },
        lines: Array.from({ length: 8 }, (_, line) => ({
          sku: `SKU-${line}`,
          name: `Cazuela de vacuno, porción ${line}`,
          amount: 1_990,
        })),
        note: 'Sin cebolla, por favor. '.repeat(10),
      },
    }),
  )
}
