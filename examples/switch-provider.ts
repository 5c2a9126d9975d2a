/** Moves a tenant's e-mail from Resend to SendGrid while it sends: `node examples/switch-provider.ts` */
const url = process.env.PIPECORE_URL ?? 'http://127.0.0.1:10000'
const key = process.env.PIPECORE_API_KEY ?? ''
// The sandbox takes any key of the right form.
const resend = { apiKey: process.env.RESEND_API_KEY ?? 're_tableflow_resend_key' }
const sendgrid = { apiKey: process.env.SENDGRID_API_KEY ?? 'SG.new_tableflow_sendgrid_key' }
const connection = { tenantId: 'tableflow_123', channel: 'email' }
const fromEmail = 'noreply@tableflow.com'

await call('/messaging/config/provider', {
  ...connection,
  provider: 'resend',
  credentials: { ...resend, fromEmail },
})
console.log(`The first goes by ${await sendEmail()}.`)

// Saved inactive, so that it can be checked before anything depends on it.
const next = { ...connection, provider: 'sendgrid', credentials: { ...sendgrid, fromEmail } }
const saved = await call<{ id: string }>('/messaging/config/provider', { ...next, isActive: false })
const check = await call<{ ok: boolean; notes: string[] }>(
  `/messaging/config/tableflow_123/${saved.id}/check`,
)
console.log(check.notes.join('\n'))
if (!check.ok) throw new Error('SendGrid is not ready; Resend goes on.')

await call('/messaging/config/provider', next)
console.log(`The second goes by ${await sendEmail()}.`)

async function sendEmail(): Promise<string> {
  const message = await call<{ provider: string }>('/messaging/send/email?wait=5', {
    tenant_id: connection.tenantId,
    to: 'juan@email.com',
    subject: 'Confirmación de pedido',
    textContent: '¡Hola Juan! Tu pedido está confirmado.',
  })
  return message.provider
}

async function call<Answer>(path: string, body?: object): Promise<Answer> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Answer
}
