import type { JsonSchema } from './json-schema.ts'

const at = '2026-11-22T15:04:05.000Z'

/** What fields hold in examples, by name, whatever the event. */
const values: Readonly<Record<string, unknown>> = {
  id: 'evt_01kbkq3v5hfr2a9m7c4xw8n6ze',
  tenant_id: 'tableflow_123',
  occurred_at: at,
  send_at: '2026-11-23T12:00:00.000Z',
  trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
  message_id: 'msg_01kbkq3v2m8sd6t1b5hy0j4qgw',
  endpoint_id: 'end_01kbkq1z9c3w7p5n2d8ke6rvxa',
  channel: 'whatsapp',
  provider: 'twilio',
  direction: 'out',
  to: '+56988888888',
  from: '+14155238886',
  address: '+56988888888',
  reference: 'order-1042',
  tags: ['orders'],
  provider_message_id: 'SM3f6d0c1e9b7a4825',
  error: { kind: 'recipient', code: '63024', message: 'The number is not on WhatsApp.' },
  url: null,
  text: 'Hola, ¿a qué hora abren?',
  subject: null,
  profile_name: 'Camila',
  payload: null,
  media: [],
  in_reply_to: null,
  reason: 'opted_out',
  machine: false,
  automated: false,
  detail: '',
}

const email = {
  channel: 'email',
  provider: 'resend',
  to: 'camila@example.com',
  from: 'hola@tableflow.example',
  status: 'delivered',
  provider_message_id: '5e2f0b1c-8f3d-4a6b-9c7e-1d2a3b4c5d6e',
}
const received = {
  direction: 'in',
  to: '+14155238886',
  from: '+56988888888',
  status: 'received',
  reference: null,
  tags: [],
}

/** What one type has otherwise. */
const valuesOf: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'message.received': received,
  'message.opened': { ...email, machine: true },
  'message.clicked': { ...email, url: 'https://tableflow.example/menu' },
  'message.complained': email,
  'message.unknown': { error: { kind: 'unknown', message: 'Twilio did not answer in time.' } },
  'provider.reported': {
    provider: 'meta',
    subject: 'phone_number_quality',
    detail: 'The quality of +14155238886 is now YELLOW.',
  },
}

/** @throws Error naming the field that has no example value yet */
export function exampleBody(name: string, schema: JsonSchema): Record<string, unknown> {
  const own: Readonly<Record<string, unknown>> = {
    event: name,
    status: name.slice(name.indexOf('.') + 1),
    ...valuesOf[name],
  }
  return Object.fromEntries(
    Object.keys(schema.properties ?? {}).map((field) => {
      const value = own[field] ?? values[field]
      if (value === undefined) {
        throw new Error(`Give ${field} of ${name} an example value in scripts/reference/event-example.ts.`)
      }
      return [field, field in own ? own[field] : value]
    }),
  )
}
