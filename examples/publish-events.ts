/** Registers an event type and publishes events of it to a tenant's endpoints: `node examples/publish-events.ts` */
const url = process.env.PIPECORE_URL ?? 'http://127.0.0.1:10000'
const key = process.env.PIPECORE_API_KEY ?? ''
const tenantId = 'tableflow_123'

// As often as you like, for instance at every start of your backend: the same version and schema change nothing.
await call('PUT', '/webhooks/catalog/order.paid', {
  product_id: 'tableflow', // Only an admin key has to say so.
  version: 1,
  description: 'An order was paid at the table or online.',
  schema: {
    type: 'object',
    properties: {
      order_id: { type: 'string' },
      amount: { type: 'integer', minimum: 1 },
      currency: { enum: ['CLP', 'USD'] },
    },
    required: ['order_id', 'amount', 'currency'],
    additionalProperties: false,
  },
})

const order = { order_id: 'ORD-123', amount: 15_990, currency: 'CLP' }
const event = { tenant_id: tenantId, type: 'order.paid', entity: order.order_id, data: order }
// Repeat it until it is answered: one key and body, one event.
const one = await call<{ id: string }>('POST', '/events', event, { 'Idempotency-Key': 'ORD-123-paid' })
console.log(`${one.id} is published.`)

const events = ['ORD-124', 'ORD-125'].map((id) => ({
  ...event,
  entity: id,
  data: { ...order, order_id: id },
}))
const many = await call<{ data: Array<{ id: string }> }>('POST', '/events', { events })
console.log(`${many.data.length} more are published.`)

const bad = { ...event, data: { order_id: 'ORD-126', amount: -1, tip: 500 } }
const refused = await send('POST', '/events', bad)
const { errors } = (await refused.json()) as { errors: Array<{ field: string; message: string }> }
for (const { field, message } of errors) console.log(`${refused.status}: ${field} ${message}`)

async function call<Answer>(
  method: string,
  path: string,
  body: object,
  headers?: Record<string, string>,
): Promise<Answer> {
  const response = await send(method, path, body, headers)
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Answer
}

function send(method: string, path: string, body: object, headers: Record<string, string> = {}) {
  return fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
}
