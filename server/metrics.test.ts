import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Receiver, startReceiver } from './testing/receiver.ts'
import { findFreePort } from './testing/sandbox.ts'
import { startTestServer, type TestServer } from './testing/server.ts'

const token = 'metrics_token_of_the_test_0001'
const published = 7
const tenantId = 'tableflow_123'
const emailWebhook = `/messaging/webhook/email?tenant_id=${tenantId}&provider=resend`

const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

let server: TestServer
let receiver: Receiver
let endpointId: string
let productKey: string
let scrapePort: number
let offsetMs = 0
const pushed: Array<{ path: string; authorization: string; text: string }> = []

before(async () => {
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8')
      pushed.push({ path: request.url ?? '', authorization: request.headers.authorization ?? '', text })
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  keep.after(async () => void collector.close())
  scrapePort = await findFreePort()
  server = await startTestServer(keep, {
    now: () => new Date(Date.now() + offsetMs),
    settings: {
      PIPECORE_METRICS_TOKEN: token,
      PIPECORE_METRICS_PORT: String(scrapePort),
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20of-the-collector',
      OTEL_METRIC_EXPORT_INTERVAL: '1000',
    },
  })
  receiver = await startReceiver(keep)
  await connectEmail()
  const key = await server.api.call<{ key: string }>('POST', '/products/tableflow/keys', {
    name: 'backend',
    scopes: ['*'],
  })
  productKey = key.body.key
  const type = await server.api
    .as(productKey)
    .call('PUT', '/webhooks/catalog/order.made', { version: 1, schema: { type: 'object' } })
  assert.ok(type.status < 300, JSON.stringify(type.body))
  const made = await server.api.call<{ id: string }>('POST', '/webhooks/endpoints', {
    tenant_id: tenantId,
    url: receiver.url,
    events: ['order.*'],
  })
  endpointId = made.body.id
  for (let number = 0; number < published; number += 1) await publish()
  await until(() => receiver.events.length === published)
})

/** A tenant with e-mail at a simulated provider. */
async function connectEmail(): Promise<void> {
  const { api, sandbox } = server
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  await api.call('POST', '/tenants', { id: tenantId, product_id: 'tableflow', name: 'Restaurant' })
  const account = await fetch(`${sandbox.url}/sandbox/accounts/resend/re_key_of_the_test`, {
    method: 'PUT',
    body: JSON.stringify({ webhook_url: server.server.context.config.publicUrl + emailWebhook }),
  })
  const { signing_secret: webhookSecret } = (await account.json()) as { signing_secret: string }
  const credentials = { apiKey: 're_key_of_the_test', fromEmail: 'noreply@tableflow.com', webhookSecret }
  const connection = { tenantId, channel: 'email', provider: 'resend', credentials, isActive: true }
  await api.call('POST', '/messaging/config/provider', connection)
}

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

function publish(): Promise<unknown> {
  return server.api.call('POST', '/events', { tenant_id: tenantId, type: 'order.made', data: {} })
}

async function until(fits: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await fits())) {
    assert.ok(performance.now() < deadline, 'never came')
    await sleep(20)
  }
}

async function scrape(): Promise<Map<string, number>> {
  const response = await fetch(`${server.server.url}/metrics`, {
    headers: { authorization: `Bearer ${token}` },
  })
  assert.equal(response.status, 200)
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  )
}

/** A series by its labels in any order; undefined when there is none. */
function valueOf(
  samples: Map<string, number>,
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  const found = [...samples].find(
    ([series]) => series.split('{')[0] === name && wanted.every((label) => series.includes(label)),
  )
  return found?.[1]
}

test('what was delivered is counted exactly: attempts, lag, intake, requests', async () => {
  const delivered = { endpoint: endpointId, outcome: 'delivered', status: '2xx' }
  const attemptsOf = (told: Map<string, number>) =>
    valueOf(told, 'pipecore_delivery_attempts_total', delivered) ?? 0
  await until(async () => attemptsOf(await scrape()) >= published)
  const samples = await scrape()
  assert.equal(attemptsOf(samples), published)
  assert.equal(valueOf(samples, 'pipecore_delivery_lag_seconds_count'), published)
  assert.ok((valueOf(samples, 'pipecore_delivery_lag_seconds_sum') ?? 99) < published * 10)
  assert.equal(valueOf(samples, 'pipecore_intake_batch_events_sum'), published)
  const request = { route: '/events', method: 'POST', status: '202' }
  assert.equal(valueOf(samples, 'pipecore_http_request_duration_seconds_count', request), published)
})

test('what is sent again counts as attempts, and not as lag', async () => {
  const list = `/webhooks/events?tenant_id=${tenantId}&type=order.made`
  const { body } = await server.api.call<{ data: Array<{ id: string }> }>('GET', list)
  await server.api.call('POST', `/webhooks/events/${body.data[0]?.id}/replay`, {})
  const delivered = { endpoint: endpointId, outcome: 'delivered' }
  await until(
    async () => valueOf(await scrape(), 'pipecore_delivery_attempts_total', delivered) === published + 1,
  )
  assert.equal(valueOf(await scrape(), 'pipecore_delivery_lag_seconds_count'), published)
})

test('a receiver that asks for patience, and one that fails, show as attempts, backlog and age', async () => {
  receiver.answerWith(429, { 'retry-after': '3600' })
  await publish()
  const throttled = { endpoint: endpointId, outcome: 'throttled', status: '4xx' }
  await until(async () => valueOf(await scrape(), 'pipecore_delivery_attempts_total', throttled) === 1)
  offsetMs += 11_000
  await until(async () => {
    const later = { endpoint: endpointId, state: 'later' }
    const seen = valueOf(await scrape(), 'pipecore_delivery_backlog', later)
    offsetMs += 11_000
    return seen === 1
  })
  const samples = await scrape()
  assert.equal(valueOf(samples, 'pipecore_delivery_backlog', { endpoint: endpointId, state: 'due' }), 0)
  assert.equal(valueOf(samples, 'pipecore_delivery_oldest_due_seconds', { endpoint: endpointId }), 0)
  assert.equal(valueOf(samples, 'pipecore_delivery_lag_seconds_count'), published)
})

test('figures of the database are read once for all who ask within some seconds', async () => {
  const before = await scrape()
  await server.server.context.database.system
    .updateTable('work')
    .set({ run_at: new Date(Date.now() - 3_600_000) })
    .where('series', '=', endpointId)
    .execute()
  const due = { endpoint: endpointId, state: 'due' }
  assert.deepEqual(
    valueOf(await scrape(), 'pipecore_delivery_backlog', due),
    valueOf(before, 'pipecore_delivery_backlog', due),
  )
  await until(async () => {
    offsetMs += 11_000
    return (
      (valueOf(await scrape(), 'pipecore_delivery_oldest_due_seconds', { endpoint: endpointId }) ?? 0) > 3_600
    )
  })
  assert.equal(valueOf(await scrape(), 'pipecore_delivery_backlog', due), 1)
})

test('calls to providers and their webhooks are counted by outcome and verdict', async () => {
  const before = await scrape()
  const calls = 'pipecore_provider_call_duration_seconds_count'
  const done = { provider: 'resend', outcome: 'done' }
  const message = { tenant_id: tenantId, to: 'ana@example.com', subject: 'Hola', textContent: 'Hola' }
  const { body } = await server.api.call<{ id: string }>('POST', '/messaging/send/email', message)
  await until(async () => {
    const told = await server.api.call('GET', `/messaging/messages/${body.id}`)
    return told.body.status === 'delivered'
  })
  const samples = await scrape()
  assert.equal(valueOf(samples, calls, done), (valueOf(before, calls, done) ?? 0) + 1)
  const recorded = ['message.queued', 'message.sent', 'message.delivered'].map((type) =>
    valueOf(samples, 'pipecore_events_recorded_total', { type }),
  )
  assert.deepEqual(recorded, [1, 1, 1])
  assert.ok(
    (valueOf(samples, 'pipecore_inbound_webhooks_total', { provider: 'resend', verdict: 'stored' }) ?? 0) >=
      1,
  )
  const refused = await fetch(server.server.url + emailWebhook, { method: 'POST', body: '{}' })
  assert.equal(refused.status, 403)
  const verdicts = [...(await scrape())].filter(([series]) => series.includes('verdict="refused_'))
  assert.deepEqual(
    verdicts.map(([, value]) => value),
    [1],
  )
})

test('the process, its pools, jobs and endpoints tell how they are', async () => {
  const samples = await scrape()
  assert.ok((valueOf(samples, 'pipecore_process_memory_bytes', { kind: 'rss' }) ?? 0) > 10_000_000)
  assert.ok((valueOf(samples, 'pipecore_process_cpu_seconds_total') ?? 0) > 0)
  assert.ok(valueOf(samples, 'pipecore_event_loop_lag_seconds', { quantile: '0.99' }) !== undefined)
  assert.ok((valueOf(samples, 'pipecore_database_connections_most', { pool: 'system' }) ?? 0) > 0)
  assert.equal(valueOf(samples, 'pipecore_jobs_dead'), 0)
  assert.ok(valueOf(samples, 'pipecore_job_backlog', { state: 'due' }) !== undefined)
  const runs = { job: 'messaging.send_message', outcome: 'done' }
  assert.equal(valueOf(samples, 'pipecore_job_run_duration_seconds_count', runs), 1)
  assert.equal(valueOf(samples, 'pipecore_endpoints', { state: 'healthy' }), 1)
})

test('no tenant, address, path or secret is a label', async () => {
  const text = [...(await scrape()).keys()].join('\n')
  for (const secret of [tenantId, 'ana@example.com', server.adminKey, token, receiver.url]) {
    assert.ok(!text.includes(secret), secret)
  }
  await fetch(`${server.server.url}/no-such-path-${tenantId}`)
  const after = [...(await scrape()).keys()].join('\n')
  assert.ok(!after.includes('no-such-path'))
  assert.match(after, /route="none",method="none",status="404"/)
})

test('only the admin key and the token may scrape, on the port of its own as well', async () => {
  for (const url of [server.server.url, `http://127.0.0.1:${scrapePort}`]) {
    const statusWith = async (key: string | undefined) => {
      const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
      return (await fetch(`${url}/metrics`, { headers })).status
    }
    assert.equal(await statusWith(undefined), 401)
    assert.equal(await statusWith(`${token}x`), 401)
    assert.equal(await statusWith(productKey), 403)
    assert.equal(await statusWith(server.adminKey), 200)
    assert.equal(await statusWith(token), 200)
  }
})

interface PushedMetrics {
  resourceMetrics: Array<{
    resource: { attributes: Array<{ key: string; value: { stringValue: string } }> }
    scopeMetrics: Array<{
      metrics: Array<{ name: string; sum?: { dataPoints: Array<{ asDouble: number }> } }>
    }>
  }>
}

function attemptsTold(text: string): number[] {
  const { resourceMetrics } = JSON.parse(text) as PushedMetrics
  return resourceMetrics
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    .filter(({ name }) => name === 'pipecore_delivery_attempts')
    .flatMap(({ sum }) => sum?.dataPoints.map(({ asDouble }) => asDouble) ?? [])
}

test('the same figures are sent to an OpenTelemetry receiver, with its headers', async () => {
  const tellsAll = ({ text }: { text: string }) => attemptsTold(text).includes(published + 1)
  await until(() => pushed.some(tellsAll))
  const whole = pushed.find(tellsAll)
  assert.equal(whole?.path, '/v1/metrics')
  assert.equal(whole?.authorization, 'Bearer of-the-collector')
  const { resourceMetrics } = JSON.parse(whole?.text ?? '{}') as PushedMetrics
  const names = resourceMetrics[0]?.resource.attributes.find(({ key }) => key === 'service.name')
  assert.equal(names?.value.stringValue, 'pipecore')
})

interface Panel {
  type: string
  title: string
  fieldConfig?: { defaults: { unit?: string } }
  targets?: Array<{ expr: string; datasource: { uid: string } }>
}

interface Dashboard {
  schemaVersion: number
  templating: { list: Array<{ name: string; type: string; query: string | { query: string } }> }
  panels: Panel[]
}

function namesIn(text: string): string[] {
  return [...text.matchAll(/\bpipecore_\w+/g)].map(([name]) => name)
}

test('every metric that the dashboard and the alert rules name is scraped', async () => {
  const dashboard = JSON.parse(await readDeployed('grafana/pipecore.json')) as Dashboard
  const rules = await readDeployed('prometheus/rules.yml')
  const panels = dashboard.panels.filter(({ type }) => type !== 'row')
  const variables = dashboard.templating.list.map(({ query }) => JSON.stringify(query))
  const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  const rows = rules.split('\n').filter((row) => !row.includes('summary:'))
  const named = new Set([...exprs, ...variables, ...rows].flatMap(namesIn))
  assert.ok(named.size > 15, `${named.size} names`)
  const known = new Set([...(await scrape()).keys()].map((series) => series.split('{')[0] ?? ''))
  // An endpoint that is not well is seen in health.test.ts; here it is enough that the name is told.
  for (const name of await describedNames()) known.add(name)
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  )
})

test('an endpoint of a whole product that takes nothing is named to the operator as any other', async () => {
  const failing = await startReceiver(keep)
  failing.answerWith(500)
  const { body } = await server.api.call<{ id: string }>('POST', '/webhooks/endpoints', {
    product_id: 'tableflow',
    url: failing.url,
    events: ['order.*'],
  })
  for (let number = 0; number < 5; number += 1) await publish()
  await until(async () => {
    offsetMs += 11_000
    return valueOf(await scrape(), 'pipecore_endpoint_unwell', { endpoint: body.id, state: 'open' }) === 1
  })
})

test('every panel has a title, a unit and the datasource that is chosen', async () => {
  const dashboard = JSON.parse(await readDeployed('grafana/pipecore.json')) as Dashboard
  assert.ok(dashboard.schemaVersion >= 39)
  assert.ok(
    dashboard.templating.list.some(({ name, type }) => name === 'datasource' && type === 'datasource'),
  )
  for (const panel of dashboard.panels) {
    assert.ok(panel.title.length > 0)
    if (panel.type === 'row') continue
    assert.ok((panel.fieldConfig?.defaults.unit ?? '') !== '', `${panel.title} has no unit`)
    assert.ok((panel.targets ?? []).length > 0, `${panel.title} shows nothing`)
    for (const { datasource } of panel.targets ?? []) assert.equal(datasource.uid, '${datasource}')
  }
})

function readDeployed(path: string): Promise<string> {
  return readFile(new URL(`../deploy/${path}`, import.meta.url), 'utf8')
}

async function describedNames(): Promise<string[]> {
  const text = await server.server.context.metrics.render()
  return [...text.matchAll(/^# TYPE (\w+) gauge$/gm)].map(([, name = '']) => name)
}
