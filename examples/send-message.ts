/** Sends a text message and waits up to five seconds for the provider's answer: `node examples/send-message.ts` */
const url = process.env.PIPECORE_URL ?? 'http://127.0.0.1:10000'
const key = process.env.PIPECORE_API_KEY ?? ''

const response = await fetch(`${url}/messaging/send/sms?wait=5`, {
  method: 'POST',
  headers: {
    Authorization: `Bearer ${key}`,
    'Content-Type': 'application/json',
    // Repeat the call as often as you like: one key and body, one message.
    'Idempotency-Key': 'order-1042-confirmed',
  },
  body: JSON.stringify({
    tenant_id: 'tableflow_123',
    to: '+56988888888',
    body: 'Tu pedido fue confirmado ✅',
    reference: 'order-1042',
  }),
})
if (!response.ok) throw new Error(await response.text())
const message = (await response.json()) as { id: string; status: string; provider: string }
console.log(`${message.id} is ${message.status} at ${message.provider}`)
