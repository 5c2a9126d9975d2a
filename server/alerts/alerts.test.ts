import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Receiver, startReceiver } from '../testing/receiver.ts'
import { startTestServer, type TestServer } from '../testing/server.ts'
import { evaluateAlerts } from './evaluation.ts'
import { tellIncident } from './notices.ts'
import type { Incident } from './schema.ts'

const tenantId = 'tableflow_123'
const contactAddress = 'dueno@restaurante.cl'
const twilio = { accountSid: 'AC_of_the_alert_test', authToken: 'token_of_the_alert_test' }
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

let server: TestServer
let receiver: Receiver
let offsetMs = 0

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  receiver = await startReceiver(keep)
  const { api } = server
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  for (const id of [tenantId, 'tableflow_456']) {
    await api.call('POST', '/tenants', { id, product_id: 'tableflow', name: 'Restaurant' })
  }
  await control('PUT', 'accounts/resend/re_key_of_the_alert_test', {})
  await control('PUT', `accounts/twilio/${twilio.accountSid}`, { token: twilio.authToken })
  await connect('sms', 'twilio', { ...twilio, phoneNumber: '+15005550006' })
  await connect('email', 'resend', { apiKey: 're_key_of_the_alert_test', fromEmail: 'noreply@tableflow.com' })
  await api.call('POST', '/webhooks/endpoints', {
    tenant_id: tenantId,
    url: receiver.url,
    events: ['alert.*'],
  })
  const contacts = [{ channel: 'email', address: contactAddress, language: 'es' }]
  const saved = await api.call('PUT', `/alerts/contacts/${tenantId}`, { contacts })
  assert.equal(saved.status, 200, JSON.stringify(saved.body))
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function control(method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${server.sandbox.url}/sandbox/${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  assert.ok(response.ok, `sandbox ${method} ${path}: ${response.status}`)
  return response.status === 204 ? undefined : response.json()
}

function connect(channel: string, provider: string, credentials: unknown): Promise<unknown> {
  const connection = { tenantId, channel, provider, credentials, isActive: true }
  return server.api.call('POST', '/messaging/config/provider', connection)
}

/** Sends messages and waits until each has ended. */
async function send(channel: 'sms' | 'email', count: number, ...ends: string[]): Promise<void> {
  const message = channel === 'sms' ? { to: '+56988888888' } : { to: 'ana@example.com', subject: 'Hola' }
  for (let number = 0; number < count; number += 1) {
    const body = { tenant_id: tenantId, body: 'Hola', ...message }
    const { body: made } = await server.api.call<{ id: string }>('POST', `/messaging/send/${channel}`, body)
    await until(async () => {
      const told = await server.api.call('GET', `/messaging/messages/${made.id}`)
      return ends.includes(String(told.body.status))
    })
  }
}

async function until(fits: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await fits())) {
    assert.ok(performance.now() < deadline, 'never came')
    await sleep(20)
  }
}

/** Time passes, and two processes look at once; the schedule of the server itself may be a third. */
async function minutePasses(minutes = 1): Promise<void> {
  offsetMs += minutes * 60_000
  const { context } = server.server
  await Promise.all([evaluateAlerts(context), evaluateAlerts(context)])
}

async function incidents(state?: string): Promise<Incident[]> {
  const query = `tenant_id=${tenantId}${state === undefined ? '' : `&state=${state}`}`
  return (await server.api.call<{ data: Incident[] }>('GET', `/alerts/incidents?${query}`)).body.data
}

async function countMails(): Promise<number> {
  const { body } = await server.api.call<{ data: Array<{ to: string }> }>(
    'GET',
    `/messaging/logs/${tenantId}?channel=email&limit=200`,
  )
  return body.data.filter(({ to }) => to === contactAddress).length
}

function toldEvents(): string[] {
  return receiver.events.map(({ body }) => body.event)
}

test('a provider that fails is one incident, one event and one e-mail; mended, one of each again', async () => {
  await control('POST', 'faults', { provider: 'twilio', fault: 'unauthorized' })
  await send('sms', 4, 'failed')
  await minutePasses()
  assert.deepEqual(await incidents(), [], 'four failures are no incident yet')
  await send('sms', 2, 'failed')
  for (let minute = 0; minute < 3; minute += 1) await minutePasses()
  await until(async () => (await incidents('open'))[0]?.notices.length === 1)
  const [open] = await incidents('open')
  assert.equal(open?.kind, 'provider_failing')
  // The server's own minute may have come after the fifth.
  assert.ok([5, 6].includes(Number(open.details.failed)), JSON.stringify(open.details))
  assert.equal(open.notices[0]?.problem, null)
  await receiver.waitFor(({ body }) => body.event === 'alert.raised')
  await control('DELETE', 'faults')
  await send('sms', 1, 'sent', 'delivered')
  // What failed leaves the window of ten minutes; three checks in a row then find it mended.
  await minutePasses(11)
  await minutePasses()
  assert.equal((await incidents('open')).length, 1, 'not mended for long enough')
  await minutePasses()
  await until(async () => (await incidents('resolved'))[0]?.notices.length === 2)
  await receiver.waitFor(({ body }) => body.event === 'alert.resolved')
  for (let minute = 0; minute < 3; minute += 1) await minutePasses()
  assert.deepEqual(toldEvents(), ['alert.raised', 'alert.resolved'])
  assert.equal(await countMails(), 2)
  await until(async () => (await sentTo(contactAddress)).length === 2)
  const sent = await sentTo(contactAddress)
  assert.deepEqual(sent.toSorted(), ['Resuelto: Un proveedor está fallando', 'Un proveedor está fallando'])
})

/** What the simulated provider really carried. */
async function sentTo(address: string): Promise<string[]> {
  const answer = await control('GET', `messages?to=${encodeURIComponent(address)}`)
  const { messages } = answer as { messages: Array<{ subject: string | null }> }
  return messages.map(({ subject }) => subject ?? '')
}

test('a process that dies after it wrote to a contact writes to nobody twice', async () => {
  const [incident] = await incidents('resolved')
  assert.ok(incident !== undefined)
  const { context } = server.server
  await context.database.system.deleteFrom('alert_notices').where('incident_id', '=', incident.id).execute()
  const scope = { tenantId, productId: 'tableflow', traceId: '0'.repeat(32) }
  const run = { jobId: 'job_again', attempt: 2, lastAttempt: false, scope, traceId: scope.traceId }
  const { signal } = new AbortController()
  for (const phase of ['raised', 'resolved'] as const) {
    await tellIncident.run(context, { incident_id: incident.id, phase }, { ...run, signal })
  }
  assert.equal((await incidents('resolved'))[0]?.notices.length, 2)
  assert.equal(await countMails(), 2)
})

test('an alert about the e-mail provider is not sent by it: the event tells', async () => {
  const before = await countMails()
  await control('POST', 'faults', { provider: 'resend', fault: 'unauthorized' })
  await send('email', 5, 'failed')
  await minutePasses()
  await until(async () => (await incidents('open'))[0]?.notices.length === 1)
  const [open] = await incidents('open')
  assert.match(open?.notices[0]?.problem ?? '', /very provider that fails/)
  assert.equal(await countMails(), before)
  await control('DELETE', 'faults')
  await receiver.waitFor(({ body }) => body.incident_id === open?.id)
})

test('an endpoint that fails and a silence are incidents; a rule that is switched off ends its own', async () => {
  const failing = await startReceiver(keep)
  failing.answerWith(500)
  const made = await server.api.call<{ id: string }>('POST', '/webhooks/endpoints', {
    tenant_id: tenantId,
    url: failing.url,
    events: ['message.*'],
  })
  await send('sms', 1, 'sent', 'delivered')
  const rule = { kind: 'silence', source: 'event', name: 'order.paid', within_minutes: 5, healthy_checks: 1 }
  assert.equal((await server.api.call('PUT', `/alerts/rules/${tenantId}/no-orders`, rule)).status, 200)
  await minutePasses()
  const kinds = async () => (await incidents('open')).map(({ kind }) => kind)
  assert.ok(!(await kinds()).includes('silence'), 'it is not silent since the rule exists')
  await minutePasses(12)
  const open = await incidents('open')
  assert.equal(open.find(({ kind }) => kind === 'endpoint_failing')?.subject, made.body.id)
  assert.equal(open.find(({ kind }) => kind === 'silence')?.subject, 'order.paid')
  assert.ok(!open.some(({ kind, subject }) => kind === 'backlog' && subject === made.body.id))
  await server.api.call('PUT', `/alerts/rules/${tenantId}/no-orders`, { ...rule, active: false })
  await minutePasses()
  assert.ok(!(await kinds()).includes('silence'))
})

test('old backlog is an incident unless its endpoint is known to fail', async () => {
  const rules = await server.api.call('PUT', `/alerts/rules/${tenantId}/backlog`, {
    kind: 'backlog',
    older_than_minutes: 30,
  })
  assert.equal(rules.status, 200)
  const stuck = await server.api.call<{ id: string }>('POST', '/webhooks/endpoints', {
    tenant_id: tenantId,
    url: receiver.url,
    events: ['order.*'],
  })
  const dueSince = (minutes: number) => new Date(Date.now() + offsetMs + 60_000 - minutes * 60_000)
  const lease = new Date(Date.now() + 3_600_000)
  const { system } = server.server.context.database
  const row = {
    kind: 'delivery' as const,
    lane: `${stuck.body.id}/${tenantId}`,
    series: stuck.body.id,
    tenant_id: tenantId,
  }
  await system
    .insertInto('work')
    .values({
      ...row,
      id: 'dlv_old',
      product_id: 'tableflow',
      ref: 'evt_none',
      run_at: dueSince(29),
      attempts: 0,
      lease_until: lease,
    })
    .execute()
  await minutePasses()
  const backlogs = async () => (await incidents('open')).filter(({ kind }) => kind === 'backlog')
  assert.deepEqual(await backlogs(), [])
  await minutePasses()
  await minutePasses()
  assert.deepEqual(
    (await backlogs()).map(({ subject }) => subject),
    [stuck.body.id],
  )
  await system.deleteFrom('work').where('id', '=', 'dlv_old').execute()
})

test('rules and contacts: faults are told, defaults come back, and no tenant sees another', async () => {
  const { api } = server
  const wrong = await api.call<{ errors: Array<{ field: string }> }>('PUT', `/alerts/contacts/${tenantId}`, {
    contacts: [
      { channel: 'whatsapp', address: '+12' },
      { channel: 'email', address: 'nobody' },
    ],
  })
  assert.equal(wrong.status, 422)
  assert.deepEqual(
    wrong.body.errors.map(({ field }) => field),
    ['contacts.0.address', 'contacts.1.address'],
  )
  const other = await api.call('PUT', `/alerts/rules/${tenantId}/backlog`, { kind: 'endpoint_failing' })
  assert.equal(other.status, 422)
  assert.equal((await api.call('DELETE', `/alerts/rules/${tenantId}/backlog`)).status, 204)
  const rules = await api.call<{ data: Array<{ name: string; default: boolean }> }>(
    'GET',
    `/alerts/rules/${tenantId}`,
  )
  assert.ok(rules.body.data.some((rule) => rule.name === 'backlog' && rule.default))
  const key = await api.call<{ key: string }>('POST', '/tenants/tableflow_456/keys', {
    name: 'own',
    scopes: ['*'],
  })
  const stranger = api.as(key.body.key)
  for (const path of [`rules/${tenantId}`, `contacts/${tenantId}`, `incidents?tenant_id=${tenantId}`]) {
    assert.equal((await stranger.call('GET', `/alerts/${path}`)).status, 404)
  }
  const own = await stranger.call<{ data: unknown[] }>('GET', '/alerts/incidents?tenant_id=tableflow_456')
  assert.deepEqual(own.body.data, [])
})
