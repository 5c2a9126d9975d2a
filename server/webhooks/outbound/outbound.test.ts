import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { before, beforeEach, describe, test } from 'node:test'
import { sql } from 'kysely'
import { Webhook } from 'standardwebhooks'
import type { TenantScope } from '#core/database.ts'
import { createTraceId } from '#core/trace.ts'
import { type ReceivedEvent, type Receiver, startReceiver } from '../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../testing/server.ts'
import { postEndpoint, recordFacts } from './testing.ts'
import type { Endpoint, EventDetail, TestResult } from './schema.ts'

type Created = Endpoint & { secret: string }

let server: TestServer
let receiver: Receiver
let offsetMs = 0
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep, { now: () => new Date(Date.now() + offsetMs) })
  for (const id of ['a', 'b']) {
    await server.api.call('POST', '/products', { id: `product_${id}`, name: id })
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: `product_${id}`, name: id })
  }
})

beforeEach(async () => {
  receiver = await startReceiver(keep)
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

function scopeOf(id: 'a' | 'b'): TenantScope {
  return { tenantId: `tenant_${id}`, productId: `product_${id}`, traceId: createTraceId() }
}

const createEndpoint = (input: object) =>
  postEndpoint<Created>(server.api, { url: receiver.url, tenant_id: 'tenant_a', ...input })

/** A fact of a module. @returns its trace */
async function happen(
  type: string,
  id: 'a' | 'b' = 'a',
  data: Record<string, unknown> = {},
): Promise<string> {
  const scope = scopeOf(id)
  await recordFacts(server.server.context, scope, [{ type, entity: 'thing_1', data }])
  return scope.traceId
}

function verify(event: ReceivedEvent, secret: string): unknown {
  return new Webhook(secret).verify(event.text, event.headers as Record<string, string>)
}

async function eventOf(type: string): Promise<EventDetail> {
  const list = await server.api.call<{ data: Array<{ id: string }> }>('GET', `/webhooks/events?type=${type}`)
  return (await server.api.call<EventDetail>('GET', `/webhooks/events/${list.body.data[0]?.id}`)).body
}

async function untilEvent(type: string, fits: (event: EventDetail) => boolean): Promise<EventDetail> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const event = await eventOf(type)
    if (fits(event)) return event
    assert.ok(performance.now() < deadline, JSON.stringify(event))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('delivery', () => {
  test('an event arrives signed by Standard Webhooks, flat, with its trace and our extra headers', async () => {
    const endpoint = await createEndpoint({
      events: ['order.shipped'],
      headers: { authorization: 'Bearer supabase_anon_key_fake' },
    })
    const traceId = await happen('order.shipped', 'a', { order_id: 'ORD-1', amount: 15990 })
    const event = await receiver.waitFor((one) => one.body.event === 'order.shipped')
    verify(event, endpoint.secret)
    assert.equal(event.headers['webhook-id'], event.body.id)
    assert.equal(event.headers.authorization, 'Bearer supabase_anon_key_fake')
    assert.deepEqual(
      [event.body.tenant_id, event.body.order_id, event.body.amount, event.body.trace_id],
      ['tenant_a', 'ORD-1', 15990, traceId],
    )
    assert.throws(() => verify({ ...event, text: `${event.text} ` }, endpoint.secret))
  })

  test('filters, owners and disabled endpoints decide who gets it', async () => {
    const nouns = await createEndpoint({ events: ['fits.*'] })
    const product = await createEndpoint({ tenant_id: undefined, product_id: 'product_a', events: ['*'] })
    const other = await createEndpoint({ tenant_id: 'tenant_b', events: ['*'] })
    const off = await createEndpoint({ events: ['*'] })
    await server.api.call('PATCH', `/webhooks/endpoints/${off.id}`, { active: false })
    await happen('fits.well')
    const event = await untilEvent(
      'fits.well',
      (one) => one.deliveries.filter((delivery) => delivery.state === 'delivered').length === 2,
    )
    assert.deepEqual(
      event.deliveries.map((delivery) => delivery.endpoint_id).toSorted(),
      [nouns.id, product.id].toSorted(),
    )
    for (const { id } of [nouns, product, other, off])
      await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  })

  test('a failing endpoint is tried again on the schedule until it takes the event, with the same id', async () => {
    const endpoint = await createEndpoint({ events: ['flaky.thing'] })
    receiver.answerWith(500)
    await happen('flaky.thing')
    const failed = await untilEvent('flaky.thing', (one) => one.deliveries[0]?.attempts.length === 1)
    assert.equal(failed.deliveries[0]?.state, 'pending')
    const waitMs =
      Date.parse(failed.deliveries[0]?.next_attempt_at ?? '') -
      Date.parse(failed.deliveries[0]?.attempts[0]?.attempted_at ?? '')
    assert.ok(waitMs >= 4_000 && waitMs <= 7_000, `${waitMs} ms`)
    receiver.answerWith(204)
    offsetMs += 10_000
    const done = await untilEvent('flaky.thing', (one) => one.deliveries[0]?.state === 'delivered')
    assert.deepEqual(
      done.deliveries[0]?.attempts.map((attempt) => attempt.status),
      [500, 204],
    )
    const ids = receiver.events.map((event) => event.body.id)
    assert.deepEqual(new Set(ids).size, 1)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('claims of processes that died before they posted use up no step of the schedule', async () => {
    const endpoint = await createEndpoint({ events: ['claimed.thing'] })
    receiver.answerWith(500)
    await happen('claimed.thing')
    await untilEvent('claimed.thing', (one) => one.deliveries[0]?.attempts.length === 1)
    const { system } = server.server.context.database
    await sql`update work set attempts = 9 where series = ${endpoint.id}`.execute(system)
    offsetMs += 10_000
    const failed = await untilEvent('claimed.thing', (one) => one.deliveries[0]?.attempts.length === 2)
    assert.equal(failed.deliveries[0]?.state, 'pending')
    assert.deepEqual(
      failed.deliveries[0]?.attempts.map((attempt) => attempt.attempt),
      [1, 2],
    )
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('Retry-After is obeyed when it is longer than the schedule', async () => {
    const endpoint = await createEndpoint({ events: ['busy.thing'] })
    receiver.answerWith(429, { 'retry-after': '120' })
    await happen('busy.thing')
    const event = await untilEvent('busy.thing', (one) => one.deliveries[0]?.attempts.length === 1)
    const waitMs =
      Date.parse(event.deliveries[0]?.next_attempt_at ?? '') -
      Date.parse(event.deliveries[0]?.attempts[0]?.attempted_at ?? '')
    assert.ok(waitMs >= 119_000 && waitMs < 125_000, `${waitMs} ms`)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('410 Gone disables the endpoint and says so', async () => {
    const endpoint = await createEndpoint({ events: ['gone.thing'] })
    receiver.answerWith(410)
    await happen('gone.thing')
    await untilEvent('gone.thing', (one) => one.deliveries[0]?.state === 'dead')
    const { body } = await server.api.call<Endpoint>('GET', `/webhooks/endpoints/${endpoint.id}`)
    assert.deepEqual([body.active, /410/.test(body.disabled_reason ?? '')], [false, true])
  })

  test('a redirect is not followed and a huge answer is not kept', async () => {
    const endless = createServer((_request, response) => {
      response.writeHead(200)
      const write = () =>
        void (response.write('x'.repeat(64 * 1024)) ? setImmediate(write) : response.once('drain', write))
      write()
    })
    await new Promise<void>((resolve) => endless.listen(0, '127.0.0.1', resolve))
    keep.after(async () => {
      endless.closeAllConnections()
      await new Promise((resolve) => endless.close(resolve))
    })
    const url = `http://127.0.0.1:${(endless.address() as AddressInfo).port}/`
    const endpoint = await createEndpoint({ url, events: ['never.sent'] })
    const { body: huge } = await server.api.call<TestResult>(
      'POST',
      `/webhooks/endpoints/${endpoint.id}/test`,
    )
    assert.ok((huge.response?.length ?? 0) <= 1_000, JSON.stringify(huge).slice(0, 200))
    receiver.answerWith(302, { location: url })
    const redirecting = await createEndpoint({ events: ['never.sent'] })
    const { body: redirect } = await server.api.call<TestResult>(
      'POST',
      `/webhooks/endpoints/${redirecting.id}/test`,
    )
    assert.deepEqual([redirect.delivered, redirect.status], [false, 302])
  })

  test('an endpoint that hangs holds up nobody else', async () => {
    const hanging = createServer(() => {})
    await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve))
    keep.after(async () => {
      hanging.closeAllConnections()
      await new Promise((resolve) => hanging.close(resolve))
    })
    const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}/`
    const stuck = await createEndpoint({ url, events: ['load.thing'] })
    const healthy = await createEndpoint({ tenant_id: 'tenant_b', events: ['load.thing'] })
    for (let index = 0; index < 100; index += 1) await happen('load.thing')
    await happen('load.thing', 'b')
    await receiver.waitFor(
      (event) => event.body.event === 'load.thing' && event.body.tenant_id === 'tenant_b',
    )
    for (const { id } of [stuck, healthy]) await server.api.call('DELETE', `/webhooks/endpoints/${id}`)
  })
})

describe('operating', () => {
  test('while a secret rotates both verify, and afterwards only the new one', async () => {
    const endpoint = await createEndpoint({ events: ['rotated.thing'] })
    const rotated = await server.api.call<Created>('POST', `/webhooks/endpoints/${endpoint.id}/rotate`, {
      overlap_hours: 1,
    })
    await happen('rotated.thing')
    const during = await receiver.waitFor((one) => one.body.event === 'rotated.thing')
    // The library checks time against the real clock.
    verify(sentNow(during, [rotated.body.secret, endpoint.secret]), rotated.body.secret)
    assert.equal(String(during.headers['webhook-signature']).split(' ').length, 2)
    offsetMs += 2 * 3_600_000
    await happen('rotated.thing')
    const after = await receiver.waitFor((one) => one.body.event === 'rotated.thing' && one !== during)
    assert.equal(String(after.headers['webhook-signature']).split(' ').length, 1)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('two rotations at once hand out one new secret', async () => {
    const endpoint = await createEndpoint({ events: ['never.sent'] })
    const rotate = () =>
      server.api.call('POST', `/webhooks/endpoints/${endpoint.id}/rotate`, { overlap_hours: 1 })
    const statuses = (await Promise.all([rotate(), rotate()])).map((answer) => answer.status)
    assert.deepEqual(
      statuses.toSorted((left, right) => left - right),
      [200, 409],
    )
  })

  test('sealed headers do not follow an endpoint to another origin', async () => {
    const endpoint = await createEndpoint({
      events: ['never.sent'],
      headers: { authorization: 'Bearer fake_service_role' },
    })
    const change = (body: Record<string, unknown>) =>
      server.api.call('PATCH', `/webhooks/endpoints/${endpoint.id}`, body)
    const elsewhere = await startReceiver(keep)
    assert.equal((await change({ url: elsewhere.url })).status, 422)
    assert.equal((await change({ url: elsewhere.url, headers: null })).status, 200)
    await server.api.call('POST', `/webhooks/endpoints/${endpoint.id}/test`)
    assert.equal(elsewhere.events[0]?.headers.authorization, undefined)
  })

  test('an endpoint that is switched off for a while keeps its deliveries', async () => {
    const endpoint = await createEndpoint({ events: ['paused.thing'] })
    receiver.answerWith(500)
    await happen('paused.thing')
    await untilEvent('paused.thing', (one) => one.deliveries[0]?.attempts.length === 1)
    await server.api.call('PATCH', `/webhooks/endpoints/${endpoint.id}`, { active: false })
    offsetMs += 10_000
    await untilEvent(
      'paused.thing',
      (one) => Date.parse(one.deliveries[0]?.next_attempt_at ?? '') > Date.now() + offsetMs + 60_000,
    )
    receiver.answerWith(204)
    await server.api.call('PATCH', `/webhooks/endpoints/${endpoint.id}`, { active: true })
    offsetMs += 6 * 60_000
    const done = await untilEvent('paused.thing', (one) => one.deliveries[0]?.state === 'delivered')
    assert.deepEqual(
      done.deliveries[0]?.attempts.map((attempt) => attempt.attempt),
      [1, 2],
    )
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('what can not be delivered any more says so', async () => {
    const endpoint = await createEndpoint({ events: ['deleted.thing'] })
    receiver.answerWith(500)
    await happen('deleted.thing')
    await untilEvent('deleted.thing', (one) => one.deliveries[0]?.attempts.length === 1)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
    offsetMs += 10_000
    const event = await untilEvent('deleted.thing', (one) => one.deliveries[0]?.state === 'dead')
    assert.match(event.deliveries[0]?.attempts.at(-1)?.error ?? '', /deleted/)
  })

  test('a delivered event can be sent again', async () => {
    const endpoint = await createEndpoint({ events: ['again.thing'] })
    await happen('again.thing')
    const first = await receiver.waitFor((one) => one.body.event === 'again.thing')
    const replay = await server.api.call('POST', `/webhooks/events/${first.body.id}/replay`, {})
    assert.equal(replay.status, 202)
    await receiver.waitFor((one) => one.body.id === first.body.id && one !== first)
    await server.api.call('DELETE', `/webhooks/endpoints/${endpoint.id}`)
  })

  test('the catalogue names every event type with a schema', async () => {
    const { body } = await server.api.call<{ data: Array<{ name: string; schema: { type: string } }> }>(
      'GET',
      '/webhooks/catalog',
    )
    assert.ok(body.data.some((type) => type.name === 'message.delivered' && type.schema.type === 'object'))
  })

  test('a tenant’s key sees and changes its own endpoints and events only', async () => {
    const own = await createEndpoint({ tenant_id: 'tenant_b', events: ['mine.thing'] })
    const foreign = await createEndpoint({ events: ['theirs.thing'] })
    const { body: key } = await server.api.call<{ key: string }>('POST', '/tenants/tenant_b/keys', {
      name: 'b',
    })
    const tenant = server.api.as(key.key)
    assert.equal((await tenant.call('GET', `/webhooks/endpoints/${own.id}`)).status, 200)
    for (const [method, path, body] of [
      ['GET', `/webhooks/endpoints/${foreign.id}`],
      ['PATCH', `/webhooks/endpoints/${foreign.id}`, { active: false }],
      ['DELETE', `/webhooks/endpoints/${foreign.id}`],
      ['POST', `/webhooks/endpoints/${foreign.id}/rotate`, {}],
      ['POST', `/webhooks/endpoints/${foreign.id}/test`],
    ] as const) {
      assert.equal((await tenant.call(method, path, body)).status, 404, `${method} ${path}`)
    }
    const events = await tenant.call<{ data: Array<{ tenant_id: string }> }>(
      'GET',
      '/webhooks/events?limit=200',
    )
    assert.deepEqual(
      events.body.data.filter((event) => event.tenant_id !== 'tenant_b'),
      [],
    )
  })
})

describe('where events may go', () => {
  test('an endpoint at a private address is refused with the rule that blocks it', async (context) => {
    const guarded = await startTestServer(context, {
      settings: { PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'false' },
    })
    await guarded.api.call('POST', '/products', { id: 'product_a', name: 'a' })
    for (const url of [
      'https://127.0.0.1/x',
      'https://[::ffff:10.0.0.1]/x',
      'https://169.254.169.254/',
      'http://example.com/',
      'https://2130706433/',
    ]) {
      const answer = await guarded.api.call<{ code: string; errors: Array<{ field: string }> }>(
        'POST',
        '/webhooks/endpoints',
        { url, product_id: 'product_a' },
      )
      assert.deepEqual([answer.status, answer.body.errors?.[0]?.field], [422, 'url'], url)
    }
  })
})

/** The event as it would have been signed at this moment, by the rules of the specification. */
function sentNow(event: ReceivedEvent, secrets: readonly string[]): ReceivedEvent {
  const at = new Date()
  const signatures = secrets.map((secret) => new Webhook(secret).sign(event.body.id, at, event.text))
  const headers = {
    ...event.headers,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': signatures.join(' '),
  }
  return { ...event, headers }
}
