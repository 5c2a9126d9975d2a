import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { setProvider } from './mission-examples.ts'
import {
  assertNothingLeaked,
  assertProblem,
  type Connection,
  type Message,
  startWorld,
  tenantOf,
} from './mission-world.ts'
import { eventually } from './harness.ts'

const world = await startWorld({ after })
const { admin, backend, pipecore, sandbox, seeds } = world
const { genda, tableflow } = world.products
const customer = '+56988888888'
const startedAt = Date.now()
const secrets = {
  wrong: 'fake_mistyped_app_secret',
  right: 'fake_app_secret',
  later: 'fake_later_app_secret',
}
for (const [name, secret] of Object.entries(secrets)) seeds[`app secret, ${name}`] = secret

interface Webhook {
  id: string
  state: 'stored' | 'refused'
  failed_check: string | null
  accepted_at: string | null
}
interface Detail extends Webhook {
  headers: Record<string, string>
  body: string
  body_encoding: string
  facts: Array<{ fact: string }>
  events: Array<{ id: string; type: string; entity: string }>
}
interface Replayed {
  webhook: Webhook
  facts: Array<{ fact: string }>
  reports: Array<{
    fact: string
    says: string
    taken: { webhook_id: string } | null
    effect: string
    events: Array<{ type: string; entity: string | null }>
  }>
  events: Array<{ type: string; entity: string | null }>
  job_id: string | null
}

function pathOf(id: string, action = '', tenant: string = tenantOf.genda): string {
  return `/webhooks/inbound/${id}${action}?tenant_id=${tenant}`
}

function replay(id: string, body?: { apply: boolean }): Promise<Replayed> {
  return genda.ok<Replayed>('POST', pathOf(id, '/replay'), body)
}

/** Applies it and waits for the end of the job. */
async function applyWhole(id: string): Promise<Replayed> {
  const replayed = await replay(id, { apply: true })
  await eventually(async () => {
    const { state } = await admin.ok<{ state: string }>('GET', `/jobs/${replayed.job_id}`)
    assert.equal(state, 'done')
    return true
  })
  return replayed
}

function connectMeta(appSecret: string): Promise<Connection> {
  const { credentials, ...config } = setProvider.gendaWhatsapp
  return admin.ok<Connection>('POST', '/messaging/config/provider', {
    ...config,
    credentials: { ...credentials, appSecret },
  })
}

function notify(value: object): string {
  const { phoneNumberId } = setProvider.gendaWhatsapp.credentials
  const metadata = { display_phone_number: '56900000000', phone_number_id: phoneNumberId }
  const changes = [{ field: 'messages', value: { messaging_product: 'whatsapp', metadata, ...value } }]
  return JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: 'waba', changes }] })
}

function wrote(id: string, text: string): string {
  const from = customer.slice(1)
  const timestamp = String(Math.floor(startedAt / 1000))
  return notify({ messages: [{ from, id, timestamp, type: 'text', text: { body: text } }] })
}

/** As Meta posts it; gives the answer and the newest webhook of the vault. */
async function post(body: string | Buffer, secret: string): Promise<{ status: number; webhook: Webhook }> {
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
  seeds[`signature ${signature.slice(-8)}`] = signature
  const path = `/messaging/webhook/whatsapp?tenant_id=${tenantOf.genda}&provider=meta`
  const { status } = await admin.as(undefined).call('POST', path, body, { 'x-hub-signature-256': signature })
  const { data } = await genda.ok<{ data: Webhook[] }>(
    'GET',
    `/webhooks/inbound?tenant_id=${tenantOf.genda}&limit=1`,
  )
  return { status, webhook: data[0] ?? assert.fail('the vault is empty') }
}

async function listEvents(type: string): Promise<Array<{ id: string; entity: string }>> {
  const path = `/webhooks/events?tenant_id=${tenantOf.genda}&type=${type}`
  return (await genda.ok<{ data: Array<{ id: string; entity: string }> }>('GET', path)).data
}

describe('a webhook that was refused for a mistyped secret', () => {
  let id = ''

  test('is kept without its signature to be seen, and tells why it does not pass yet', async () => {
    await connectMeta(secrets.wrong)
    const { status, webhook } = await post(wrote('wamid.lost', '¿Tienen hora mañana?'), secrets.right)
    assert.deepEqual([status, webhook.state, webhook.failed_check], [403, 'refused', 'signature'])
    id = webhook.id
    const kept = await genda.ok<Detail>('GET', pathOf(id))
    assert.equal(kept.headers['x-hub-signature-256'], '[redacted]')
    assert.deepEqual([kept.body, kept.body_encoding], [wrote('wamid.lost', '¿Tienen hora mañana?'), 'utf-8'])
    assert.deepEqual([kept.facts, kept.events], [[], []])
    for (const apply of [false, true]) {
      const answer = await genda.call('POST', pathOf(id, '/replay'), { apply })
      assertProblem(answer, { status: 409, code: 'webhook_still_refused' })
    }
  })

  test('tells what would follow once the secret is mended, and nothing happens by that', async () => {
    await connectMeta(secrets.right)
    const dry = await replay(id)
    assert.equal(dry.job_id, null)
    assert.deepEqual(dry.facts, [])
    const [report] = dry.reports
    assert.equal(dry.reports.length, 1)
    assert.deepEqual([report?.taken, report?.events], [null, [{ type: 'message.received', entity: null }]])
    assert.match(report?.says ?? '', /\+?56988888888 wrote/)
    assert.deepEqual(dry.events, report?.events)
    assert.deepEqual(await replay(id, { apply: false }), dry)
    assert.equal((await genda.ok<Detail>('GET', pathOf(id))).state, 'refused')
    assert.deepEqual(await listEvents('message.received'), [])
    const log = await genda.ok<{ data: unknown[] }>('GET', `/messaging/logs/${tenantOf.genda}?direction=in`)
    assert.deepEqual(log.data, [])
  })

  test('is told once when it is applied, and never again', async () => {
    const applied = await applyWhole(id)
    assert.equal(applied.webhook.state, 'stored')
    assert.ok(applied.webhook.accepted_at !== null)
    const event = await backend.waitFor('message.received')
    assert.equal(event.body['text'], '¿Tienen hora mañana?')
    const again = await replay(id)
    assert.deepEqual([again.events, again.reports[0]?.taken?.webhook_id], [[], id])
    assert.match(again.reports[0]?.effect ?? '', /^Nothing/)
    await applyWhole(id)
    assert.equal((await listEvents('message.received')).length, 1)
    const kept = await genda.ok<Detail>('GET', pathOf(id))
    assert.equal(kept.failed_check, 'signature', 'what was wrong with it stays known')
    const [row] = await pipecore.query('select sealed_request from pipecore.inbound_webhooks where id = $1', [
      id,
    ])
    assert.deepEqual(row, { sealed_request: null }, 'a signature is not kept for longer than it is needed')
    assert.deepEqual(
      kept.events.map((one) => [one.id, one.type]),
      [[event.body.id, 'message.received']],
    )
    assert.deepEqual(kept.facts, again.facts)
    assert.equal(kept.facts.length, 1)
  })

  test('a report of a message tells from where to where it moves', async () => {
    const { accessToken, phoneNumberId } = setProvider.gendaWhatsapp.credentials
    // Without a webhook_url: only what this test posts is reported.
    await sandbox.control('PUT', `/accounts/meta/${phoneNumberId}`, { token: accessToken })
    await sandbox.control('POST', '/inbound/meta', { from: customer, text: 'Hola', account: phoneNumberId })
    const sent = await genda.ok<Message>('POST', '/messaging/send/whatsapp', {
      tenant_id: tenantOf.genda,
      to: customer,
      body: 'Sí, a las diez.',
    })
    const message = await eventually(async () => {
      const now = await genda.ok<Message>('GET', `/messaging/messages/${sent.id}`)
      return now.provider_message_id !== null && now
    })
    const statuses = ['delivered', 'sent', 'read'].map((status, index) => ({
      id: message.provider_message_id,
      status,
      timestamp: String(Math.floor(startedAt / 1000) + 60 + index),
      recipient_id: customer.slice(1),
    }))
    const { webhook } = await post(notify({ statuses }), secrets.later)
    assert.equal(webhook.state, 'refused')
    await connectMeta(secrets.later)
    const dry = await replay(webhook.id)
    assert.deepEqual(
      dry.reports.map(({ events }) => events),
      [[{ type: 'message.delivered', entity: sent.id }], [], [{ type: 'message.read', entity: sent.id }]],
    )
    assert.match(dry.reports[1]?.effect ?? '', /stays delivered/)
    assert.match(dry.reports[2]?.effect ?? '', /from delivered to read/)
    const { status } = await genda.ok<Message>('GET', `/messaging/messages/${sent.id}`)
    assert.equal(status, message.status)
    await applyWhole(webhook.id)
    const kept = await genda.ok<Detail>('GET', pathOf(webhook.id))
    assert.deepEqual(
      kept.events.map(({ type, entity }) => [type, entity]),
      [
        ['message.delivered', sent.id],
        ['message.read', sent.id],
      ],
    )
    assert.equal(kept.facts.length, 3)
  })
})

describe('a webhook that can not be replayed', () => {
  test('a forged one stays refused', async () => {
    const { webhook } = await post(wrote('wamid.forged', 'Hola'), 'fake_secret_of_a_forger')
    const answer = await genda.call('POST', pathOf(webhook.id, '/replay'), { apply: true })
    assertProblem(answer, { status: 409, code: 'webhook_still_refused' })
    assert.equal((await genda.ok<Detail>('GET', pathOf(webhook.id))).state, 'refused')
  })

  test('of one that was refused and is longer than what is kept it is said that it was cut', async () => {
    const { webhook } = await post(wrote('wamid.long', 'x'.repeat(5_000)), 'fake_secret_of_a_forger')
    const answer = await genda.call('POST', pathOf(webhook.id, '/replay'))
    assertProblem(answer, { status: 409, code: 'webhook_incomplete' })
    assert.match(answer.text, /4096 bytes/)
  })

  test('one that there is not, or not any more, is a 404', async () => {
    const long = 'whk_01arz3ndektsv4rrffq69g5fav'
    const answer = await genda.call('POST', pathOf(long, '/replay'))
    assertProblem(answer, { status: 404, code: 'webhook_not_found' })
  })

  test('one that is no text is shown as base64', async () => {
    const bytes = Buffer.from([0xff, 0x00, 0xfe])
    const { webhook } = await post(bytes, secrets.later)
    const { body, body_encoding: encoding } = await genda.ok<Detail>('GET', pathOf(webhook.id))
    assert.deepEqual([encoding, body], ['base64', bytes.toString('base64')])
  })

  test('a key that may only read may not replay', async () => {
    const { webhook } = await post(wrote('wamid.key', 'Hola'), secrets.later)
    const { key } = await admin.ok<{ key: string }>('POST', `/tenants/${tenantOf.genda}/keys`, {
      name: 'reader',
      scopes: ['webhooks:read'],
    })
    const reader = admin.as(key)
    await reader.ok('GET', pathOf(webhook.id))
    const answer = await reader.call('POST', pathOf(webhook.id, '/replay'))
    assertProblem(answer, { status: 403, code: 'scope_missing' })
  })

  test('a body that says something else is refused', async () => {
    const { webhook } = await post(wrote('wamid.body', 'Hola'), secrets.later)
    for (const body of [{ apply: 'yes' }, { apply: true, force: true }]) {
      const answer = await genda.call('POST', pathOf(webhook.id, '/replay'), body)
      assertProblem(answer, { status: 422, code: 'request_invalid' })
    }
  })
})

describe('a payment provider’s webhook', () => {
  test('names the payment that would be read, calls nobody, and tells nothing twice', async () => {
    const tenantId = tenantOf.tableflow
    const token = 'TEST-tableflow-replayed-token'
    const config = { tenantId, provider: 'mercadopago', credentials: { accessToken: token } }
    const saved = await admin.ok<Connection>('POST', '/payments/config/provider', config)
    const account = await sandbox.control('PUT', `/accounts/mercadopago/${token}`, {
      webhook_url: saved.webhook_url,
    })
    const credentials = { accessToken: token, webhookSecret: account['webhook_secret'] }
    await admin.ok('POST', '/payments/config/provider', { ...config, credentials })
    const payment = await tableflow.ok<{ id: string; next_action: { url: string } }>(
      'POST',
      '/payments/create',
      {
        tenant_id: tenantId,
        amount: 15_990,
        currency: 'CLP',
        provider: 'mercadopago',
        description: 'Pedido #ORD-123',
        customer: { email: 'cliente@email.com' },
        return_url: 'https://tableflow.com/pedidos/ORD-123',
      },
    )
    const id = new URL(payment.next_action.url).searchParams.get('pref_id')
    await sandbox.control('POST', '/pay', { provider: 'mercadopago', id, choice: 'approve' })
    const isAboutIt = (body: Record<string, unknown>) => body['payment_id'] === payment.id
    const confirmed = await backend.waitFor('payment.confirmed', isAboutIt)
    const kept = await eventually(async () => {
      const { data } = await tableflow.ok<{ data: Webhook[] }>(
        'GET',
        `/webhooks/inbound?tenant_id=${tenantId}&state=stored`,
      )
      for (const webhook of data) {
        const detail = await tableflow.ok<Detail>('GET', pathOf(webhook.id, '', tenantId))
        if (detail.events.some((event) => event.id === confirmed.body.id)) return detail
      }
      return false
    })
    const path = pathOf(kept.id, '/replay', tenantId)
    const countCalls = async () =>
      (await sandbox.control<{ requests: unknown[] }>('GET', '/requests?limit=500')).requests.length
    const before = await countCalls()
    const dry = await tableflow.ok<Replayed>('POST', path)
    assert.equal(await countCalls(), before)
    const named = dry.reports.find(({ effect }) => effect.includes(payment.id))
    assert.match(named?.effect ?? JSON.stringify(dry), /MercadoPago is asked/)
    assert.deepEqual(dry.events, [])
    const { job_id: jobId } = await tableflow.ok<Replayed>('POST', path, { apply: true })
    await eventually(async () => {
      assert.equal((await admin.ok<{ state: string }>('GET', `/jobs/${jobId}`)).state, 'done')
      return true
    })
    const told = await tableflow.ok<{ data: Array<{ type: string }> }>(
      'GET',
      `/webhooks/events?entity=${payment.id}`,
    )
    assert.equal(told.data.filter(({ type }) => type === 'payment.confirmed').length, 1)
  })
})

test('no secret got out', () => assertNothingLeaked(world))
