import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startTestServer, type TestServer } from '../testing/server.ts'
import { evaluateAlerts } from './evaluation.ts'
import type { Incident } from './schema.ts'

const tenantId = 'tableflow_123'
const owner = '+56955551234'
const pipecore = '+14155238886'
const twilio = { accountSid: 'AC_of_the_notices_test', authToken: 'token_of_the_notices_test' }
const cleanups: Array<() => Promise<void>> = []
let server: TestServer
let offsetMs = 0

before(async () => {
  const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  const { api } = server
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  await api.call('POST', '/tenants', { id: tenantId, product_id: 'tableflow', name: 'Restaurant' })
  await control('PUT', `accounts/twilio/${twilio.accountSid}`, { token: twilio.authToken })
  const credentials = { ...twilio, whatsappNumber: `whatsapp:${pipecore}` }
  const connection = { tenantId, channel: 'whatsapp', provider: 'twilio', credentials, isActive: true }
  await api.call('POST', '/messaging/config/provider', connection)
})

after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const init = { method, ...(body !== undefined && { body: JSON.stringify(body) }) }
  const response = await fetch(`${server.sandbox.url}/sandbox/${path}`, init)
  assert.ok(response.ok, `sandbox ${method} ${path}: ${response.status}`)
  return (await response.json()) as Record<string, unknown>
}

async function until(fits: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await fits())) {
    assert.ok(performance.now() < deadline, 'never came')
    await sleep(20)
  }
}

/** Opens the window of 24 hours. */
async function customerWrites(): Promise<void> {
  await control('POST', 'inbound/twilio', {
    from: `whatsapp:${owner}`,
    to: `whatsapp:${pipecore}`,
    account: twilio.accountSid,
    webhook_url: `${server.server.context.config.publicUrl}/messaging/webhook/whatsapp?tenant_id=${tenantId}&provider=twilio`,
    text: 'hello',
  })
  await until(async () => {
    const { body } = await server.api.call<{ data: unknown[] }>(
      'GET',
      `/messaging/logs/${tenantId}?direction=in`,
    )
    return body.data.length > 0
  })
}

async function writeTo(contact: object): Promise<void> {
  const contacts = [{ channel: 'whatsapp', address: owner, language: 'en', ...contact }]
  const saved = await server.api.call('PUT', `/alerts/contacts/${tenantId}`, { contacts })
  assert.equal(saved.status, 200, JSON.stringify(saved.body))
}

/** Nothing of a type comes that a rule expects: the incident, once its contacts were told. */
async function fallSilent(type: string): Promise<Incident> {
  const rule = { kind: 'silence', source: 'event', name: type, within_minutes: 5 }
  await server.api.call('PUT', `/alerts/rules/${tenantId}/${type.replace('.', '-')}`, rule)
  offsetMs += 6 * 60_000
  let told: Incident | undefined
  await until(async () => {
    await evaluateAlerts(server.server.context)
    const path = `/alerts/incidents?tenant_id=${tenantId}&state=open`
    const { body } = await server.api.call<{ data: Incident[] }>('GET', path)
    told = body.data.find(({ subject, notices }) => subject === type && notices.length > 0)
    return told !== undefined
  })
  return told as unknown as Incident
}

async function textAtPhone({ notices }: Incident): Promise<string> {
  const [notice] = notices
  assert.equal(notice?.problem, null)
  const id = notice?.message_id ?? ''
  await until(async () => {
    const { body } = await server.api.call('GET', `/messaging/messages/${id}`)
    return ['delivered', 'read'].includes(String(body.status))
  })
  const { messages } = await control('GET', `messages?reference=${id}`)
  return JSON.stringify(messages)
}

test('by WhatsApp a contact is told in English, and where the window is closed the incident says why not', async () => {
  await writeTo({})
  const shut = await fallSilent('order.shut')
  assert.match(shut.notices[0]?.problem ?? '', /window/i)
  await customerWrites()
  const told = await textAtPhone(await fallSilent('order.open'))
  assert.match(told, /What was expected does not come/)
  assert.match(told, /No order\.open came in the last 5 minutes\./)
})

test('by WhatsApp a template goes where the window is closed, with the words in its variables', async () => {
  offsetMs += 25 * 3_600_000
  const account = Buffer.from(`${twilio.accountSid}:${twilio.authToken}`).toString('base64')
  const made = await fetch(`${server.sandbox.providerUrls.twilio}/v1/Content`, {
    method: 'POST',
    headers: { authorization: `Basic ${account}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      friendly_name: 'alert',
      language: 'en',
      variables: { 1: 'title', 2: 'text' },
      types: { 'twilio/text': { body: '{{1}}: {{2}}' } },
    }),
  })
  const { sid } = (await made.json()) as { sid: string }
  const template = await server.api.call('PUT', `/messaging/templates/${tenantId}/alert/en`, {
    text: '{{title}}: {{text}}',
    references: { twilio: { name: sid } },
  })
  assert.ok(template.status < 300, JSON.stringify(template.body))
  await writeTo({ template: 'alert' })
  const told = await textAtPhone(await fallSilent('order.late'))
  assert.match(told, /What was expected does not come: No order\.late came in the last 5 minutes\./)
})
