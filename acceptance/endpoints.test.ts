import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { messages } from './mission-examples.ts'
import { type Client, eventually, startBackend } from './harness.ts'
import {
  assertNothingLeaked,
  assertProblem,
  connectAll,
  type Message,
  startWorld,
  waitForStatus,
} from './mission-world.ts'

const world = await startWorld({ after })
const { backend, admin } = world
const { roe, genda } = world.products
await connectAll(world)

interface Endpoint {
  id: string
  secret: string
  active: boolean
  disabled_reason: string | null
}

interface EventDetail {
  id: string
  deliveries: Array<{
    endpoint_id: string
    state: string
    attempts: Array<{ outcome: string; status: number; response: string }>
  }>
}

/** A backend of its own behind an endpoint of its own. */
async function makeEndpoint(caller: Client, input: object) {
  const receiver = await startBackend({ after })
  const endpoint = await caller.ok<Endpoint>('POST', '/webhooks/endpoints', {
    url: `${receiver.url}/hooks`,
    ...input,
  })
  receiver.trust(endpoint.secret)
  world.seeds[`endpoint ${endpoint.id}`] = endpoint.secret
  return { receiver, endpoint }
}

async function sendOne(): Promise<string> {
  const { id } = await roe.ok<Message>('POST', messages.roeSms.path, messages.roeSms.body)
  await waitForStatus(roe, id, 'delivered')
  await backend.waitFor('message.delivered', (event) => event['message_id'] === id)
  return id
}

/** To which endpoints each event about a message goes or went. */
async function listTargets(messageId: string): Promise<Array<[type: string, endpoints: string[]]>> {
  const { events } = await roe.ok<{
    events: Array<{ type: string; deliveries: Array<{ endpoint_id: string }> }>
  }>('GET', `/messaging/messages/${messageId}`)
  return events.map(({ type, deliveries }) => [type, deliveries.map((one) => one.endpoint_id)])
}

describe('which events an endpoint gets', () => {
  test('an endpoint with a filter gets the types it names, of its own tenant, and no others', async () => {
    const exact = await makeEndpoint(roe, { tenant_id: 'roe_789', events: ['message.delivered'] })
    const nouns = await makeEndpoint(roe, { product_id: 'roe', events: ['provider.*'] })
    const stranger = await makeEndpoint(genda, { product_id: 'genda' })
    const id = await sendOne()
    await exact.receiver.waitFor('message.delivered', (event) => event['message_id'] === id)
    for (const [type, endpoints] of await listTargets(id)) {
      assert.equal(endpoints.includes(exact.endpoint.id), type === 'message.delivered')
      assert.ok(!endpoints.includes(nouns.endpoint.id))
      assert.ok(!endpoints.includes(stranger.endpoint.id))
    }
  })

  test('a product’s endpoint gets the events of each of its tenants, a tenant’s only its own', async () => {
    await admin.ok('POST', '/tenants', { id: 'roe_790', product_id: 'roe', name: 'Another' })
    const ofProduct = await makeEndpoint(roe, { product_id: 'roe' })
    const ofTenant = await makeEndpoint(roe, { tenant_id: 'roe_790' })
    const id = await sendOne()
    await ofProduct.receiver.waitFor('message.delivered', (event) => event['message_id'] === id)
    for (const [, endpoints] of await listTargets(id)) assert.ok(!endpoints.includes(ofTenant.endpoint.id))
  })

  test('a disabled endpoint gets nothing until it is enabled again', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe' })
    await roe.ok('PATCH', `/webhooks/endpoints/${endpoint.id}`, { active: false })
    const missed = await sendOne()
    for (const [, endpoints] of await listTargets(missed)) assert.ok(!endpoints.includes(endpoint.id))
    await roe.ok('PATCH', `/webhooks/endpoints/${endpoint.id}`, { active: true })
    const id = await sendOne()
    await receiver.waitFor('message.delivered', (event) => event['message_id'] === id)
  })
})

describe('secrets of an endpoint', () => {
  test('after a rotation both secrets sign until the overlap ends', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe' })
    const path = `/webhooks/endpoints/${endpoint.id}`
    const rotated = await roe.ok<Endpoint>('POST', `${path}/rotate`, { overlap_hours: 1 })
    assert.notEqual(rotated.secret, endpoint.secret)
    receiver.trust(rotated.secret)
    const first = await sendOne()
    const both = await receiver.waitFor('message.delivered', (event) => event['message_id'] === first)
    assert.deepEqual(both.signedBy, [0, 1])
    assertProblem(await roe.call('POST', `${path}/rotate`, { overlap_hours: 1 }), {
      status: 409,
      code: 'rotation_under_way',
    })
  })

  test('a leaked secret is cut off at once, whatever was rotated before', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe' })
    const path = `/webhooks/endpoints/${endpoint.id}/rotate`
    for (const hours of [1, 0]) {
      const { secret } = await roe.ok<Endpoint>('POST', path, { overlap_hours: hours })
      receiver.trust(secret)
      world.seeds[`endpoint ${endpoint.id}, ${hours} hours`] = secret
    }
    const id = await sendOne()
    const { signedBy } = await receiver.waitFor('message.delivered', (event) => event['message_id'] === id)
    assert.deepEqual(signedBy, [2])
  })
})

describe('trying and replaying', () => {
  test('a test event arrives signed, and the answer of the backend is told', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe' })
    const path = `/webhooks/endpoints/${endpoint.id}/test`
    const good = await roe.ok('POST', path)
    assert.deepEqual([good['delivered'], good['status']], [true, 204])
    assert.equal(receiver.events[0]?.body.event, 'webhook.test')
    receiver.answerWith(503, 'database is away')
    const bad = await roe.ok('POST', path)
    assert.deepEqual([bad['delivered'], bad['status'], bad['response']], [false, 503, 'database is away'])
  })

  test('a replay delivers the same event again under the same id', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe' })
    const id = await sendOne()
    const { body } = await receiver.waitFor('message.delivered', (event) => event['message_id'] === id)
    const replay = await roe.ok<{ deliveries: string[] }>('POST', `/webhooks/events/${body.id}/replay`, {
      endpoint_id: endpoint.id,
    })
    assert.equal(replay.deliveries.length, 1)
    await eventually(() => receiver.events.filter((one) => one.body.id === body.id).length === 2)
    const texts = receiver.events.filter((one) => one.body.id === body.id).map(({ text }) => text)
    assert.equal(texts[0], texts[1])
  })

  test('a backend that fails is tried again by itself, and every attempt is told', async () => {
    const { receiver, endpoint } = await makeEndpoint(roe, { product_id: 'roe', events: ['message.queued'] })
    receiver.answerWith(500, 'not yet')
    const id = await sendOne()
    const { body } = await receiver.waitFor('message.queued', (event) => event['message_id'] === id)
    receiver.answerWith(204)
    const delivery = await eventually(async () => {
      const detail = await roe.ok<EventDetail>('GET', `/webhooks/events/${body.id}`)
      return detail.deliveries.find((one) => one.endpoint_id === endpoint.id && one.state === 'delivered')
    }, 30_000)
    assert.deepEqual(
      delivery.attempts.map(({ outcome, status }) => [outcome, status]),
      [
        ['retry', 500],
        ['delivered', 204],
      ],
    )
    assert.equal(delivery.attempts[0]?.response, 'not yet')
  })

  test('a backend that answers 410 is disabled, and a redirect is not followed', async () => {
    const gone = await makeEndpoint(roe, { product_id: 'roe', events: ['message.queued'] })
    gone.receiver.answerWith(410)
    const moved = await makeEndpoint(roe, { product_id: 'roe', events: ['message.queued'] })
    moved.receiver.answerWith(302, '', { location: `${backend.url}/stolen` })
    await sendOne()
    await eventually(async () => {
      const endpoint = await roe.ok<Endpoint>('GET', `/webhooks/endpoints/${gone.endpoint.id}`)
      return !endpoint.active && endpoint.disabled_reason
    })
    const tried = await roe.ok('POST', `/webhooks/endpoints/${moved.endpoint.id}/test`)
    assert.deepEqual([tried['delivered'], tried['status']], [false, 302])
    assert.ok(![...backend.events, ...backend.refused].some(({ path }) => path === '/stolen'))
  })

  test('an event no endpoint wants is not replayed', async () => {
    const { endpoint } = await makeEndpoint(roe, { product_id: 'roe', events: ['provider.reported'] })
    const id = await sendOne()
    const { data } = await roe.ok<{ data: Array<{ id: string }> }>('GET', `/webhooks/events?entity=${id}`)
    await roe.ok('PATCH', `/webhooks/endpoints/${endpoint.id}`, { active: false })
    assertProblem(
      await roe.call('POST', `/webhooks/events/${data[0]?.id}/replay`, { endpoint_id: endpoint.id }),
      { status: 422, code: 'request_invalid', field: 'endpoint_id' },
    )
  })
})

describe('the catalogue', () => {
  let catalog: Map<string, z.ZodType>

  before(async () => {
    const { data } = await roe.ok<{
      data: Array<{ name: string; version: number; description: string; schema: object }>
    }>('GET', '/webhooks/catalog')
    for (const { name, version, description } of data) {
      assert.match(name, /^[a-z_]+\.[a-z_]+$/)
      assert.ok(version >= 1 && description.length > 10)
    }
    catalog = new Map(data.map(({ name, schema }) => [name, z.fromJSONSchema(schema as never)]))
  })

  test('names every type of the mission’s messages', () => {
    const wanted = ['queued', 'sent', 'delivered', 'read', 'failed', 'received', 'opted_out']
    assert.deepEqual(
      wanted.filter((name) => !catalog.has(`message.${name}`)),
      [],
    )
  })

  test('describes every event that came as it came', async () => {
    await roe.ok('POST', '/messaging/send/email', {
      tenant_id: 'roe_789',
      to: 'bounce@email.com',
      subject: 'Novedades',
      textContent: 'Hola',
    })
    await backend.waitFor('message.opted_out')
    for (const { body } of backend.events) {
      const schema = catalog.get(body.event)
      assert.ok(schema, `${body.event} is not in the catalogue`)
      schema.parse(body)
    }
  })
})

test('no secret stands in any log line, answer, event or row', () => assertNothingLeaked(world))
