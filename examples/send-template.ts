/** Saves a template in two languages and sends it in the customer's: `node examples/send-template.ts` */
const url = process.env.PIPECORE_URL ?? 'http://127.0.0.1:10000'
const key = process.env.PIPECORE_API_KEY ?? ''
const tenantId = 'tableflow_123'

const template = `/messaging/templates/${tenantId}/order_ready`
await call('PUT', `${template}/es`, { text: 'Hola {{name}}, tu pedido {{order}} está listo.' })
await call('PUT', `${template}/en`, { text: 'Hi {{name}}, your order {{order}} is ready.' })

const choice = { locale: 'es-CL', variables: { name: 'Juan', order: 'ORD-123' } }
const preview = await call<{ locale: string; text: string }>('POST', `${template}/preview`, choice)
console.log(`es-CL gets ${preview.locale}: ${preview.text}`)

const message = await call<{ id: string; status: string }>('POST', '/messaging/send/sms?wait=5', {
  tenant_id: tenantId,
  to: '+56988888888',
  template: { name: 'order_ready', ...choice },
})
console.log(`${message.id} is ${message.status}`)

async function call<Answer>(method: string, path: string, body: object): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Answer
}
