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
  payment_id: 'pay_01kbkq4a7n2c8wd5xj9m0tfv3h',
  amount: 15_990,
  currency: 'CLP',
  captured: 15_990,
  refunded: 0,
  provider_payment_id: '4141491',
  checkout_id: null,
  subscription_id: null,
  metadata: {},
  refund_id: 'rfd_01kbkq6t1v8e3mz5c0wp7d2nya',
  refund_amount: 2_500,
  refund_reference: null,
  source: 'api',
  dispute: 'open',
  drift: 'refund_outside',
  known: 'CLP 0 given back',
  found: 'CLP 2500 more given back',
  next_attempt_at: null,
  attempt: 1,
  provider_subscription_id: 'sub_1QxYzA2eZvKYlo2C',
  cancel_at_period_end: false,
  trial_end: null,
  period_end: '2026-12-22T15:04:05.000Z',
  period_start: at,
  interval_count: 1,
  interval: 'month',
  incident_id: 'inc_01kbkqbz6r2w8m4xv5dt9c7yhn',
  opened_at: '2026-11-22T14:48:00.000Z',
  resolved_at: at,
  method: { type: 'card', brand: 'visa', last4: '4242', installments: null },
  customer_reference: 'customer_42',
  method_id: 'pmt_01kbkq8d3r5f7hx2b9zt6ye0wc',
  refund_status: 'succeeded',
  failure: null,
  failing_since: '2026-11-20T03:04:05.000Z',
  last_error: 'HTTP 503',
  percent: 50,
  block: 1412,
  hash: '9b1d5c3a7f20e84b6d1c92f5a08e37b4c6d9f1e2a3b4c5d6e7f8091a2b3c4d5e',
  key_id: '5f0c1e9b7a4825d63f6d0c1e9b7a4825',
  public_key: 'MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE',
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

const refund = {
  provider: 'mercadopago',
  status: 'confirmed',
  refunded: 2_500,
  refund_status: 'succeeded',
}
const failure = {
  code: 'insufficient_funds',
  provider_code: 'cc_rejected_insufficient_amount',
  retry: 'other_method',
  message_es: 'La tarjeta no tiene fondos suficientes. Usa otra tarjeta u otro medio de pago.',
  message_en: 'The card has insufficient funds. Use another card or another way to pay.',
}

/** Of every event about payments, whatever its type. */
const money = {
  provider: 'mercadopago',
  reference: 'order-1042',
  metadata: { table: '7' },
  failure: null,
  url: null,
}

const plan = {
  provider: 'stripe',
  subscription_id: 'sub_01kbkq9h6w4n2v8xk5dr3ct7yb',
  amount: 19_990,
  status: 'active',
}

const endpointUrl = { url: 'https://tableflow.example/events' }

const incident = {
  rule: 'provider_failing',
  kind: 'provider_failing',
  subject: 'con_01kbkpx2d8n5w7c3vr9ha4mty6',
  details: {
    provider: 'twilio',
    calls: 12,
    failed: 9,
    window_minutes: 10,
    last_error: 'No answer came in time.',
  },
}

/** What one type has otherwise. */
const valuesOf: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'message.received': received,
  'message.opened': { ...email, machine: true },
  'message.clicked': { ...email, url: 'https://tableflow.example/menu' },
  'message.complained': email,
  'message.unknown': { error: { kind: 'unknown', message: 'Twilio did not answer in time.' } },
  'payment.failed': { captured: 0, failure },
  'payment.created': { status: 'pending', captured: 0 },
  'payment.authorized': { captured: 0 },
  'payment.refunded': refund,
  'refund.succeeded': refund,
  'payment.disputed': { status: 'confirmed' },
  'payment.drift_detected': { status: 'confirmed' },
  'checkout.completed': { status: 'confirmed', checkout_id: 'chk_01kbkq4a7n6g1rs8h3vd0yb5te' },
  'endpoint.failing': endpointUrl,
  'endpoint.disabled': endpointUrl,
  'endpoint.recovered': { ...endpointUrl, failing_since: null, last_error: null },
  'endpoint.version_withdrawn': { ...endpointUrl, type: 'order.paid', version: 1, newest_version: 2 },
  'alert.raised': incident,
  'alert.resolved': incident,
  'provider.reported': {
    provider: 'meta',
    subject: 'phone_number_quality',
    detail: 'The quality of +14155238886 is now YELLOW.',
  },
}

/** @throws Error naming the field that has no example value yet */
export function exampleBody(name: string, schema: JsonSchema): Record<string, unknown> {
  const isMoney = /^(payment|refund|checkout|subscription|payment_method)\./.test(name)
  const isPlan = name.startsWith('subscription.')
  const own: Readonly<Record<string, unknown>> = {
    event: name,
    status: name.slice(name.indexOf('.') + 1),
    ...(isMoney && money),
    ...(isPlan && plan),
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
