import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { readQueueName } from './queue-queries.ts'
import { findNats } from './testing/nats.ts'
import { until } from './testing/work.ts'
import { startReceiver } from '../testing/receiver.ts'
import { startTestServer } from '../testing/server.ts'

const { url, skip } = await findNats()

test('a server with a queue takes an event and delivers it over NATS, once', { skip }, async (t) => {
  const receiver = await startReceiver(t)
  const { api, server } = await startTestServer(t, { settings: { PIPECORE_QUEUE: url } })
  const spy = await connect({ servers: url })
  const name = await readQueueName(server.context.database.system, 'delivery')
  t.after(async () => {
    const manager = await jetstreamManager(spy)
    await manager.streams.delete(name).catch(() => undefined)
    await spy.close()
  })
  let offers = 0
  spy.subscribe(`${name}.offers`, { callback: () => void (offers += 1) })
  await spy.flush()
  await api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  await api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'shop', name: 'A' })
  await api.call('POST', '/webhooks/endpoints', { url: receiver.url, tenant_id: 'tenant_a', events: ['*'] })
  const type = { version: 1, schema: { type: 'object' } }
  const key = await api.call<{ key: string }>('POST', '/products/shop/keys', {})
  const own = api.as(key.body.key)
  await own.call('PUT', '/webhooks/catalog/order.paid', type)
  let taken = 0
  const publish = async () => {
    const event = { tenant_id: 'tenant_a', type: 'order.paid', data: { nth: taken } }
    const { status, body } = await own.call('POST', '/events', event)
    assert.ok(status < 300, JSON.stringify(body))
    taken += 1
  }
  // Until the queue is there, the process claims for itself.
  await until(async () => {
    await publish()
    return offers > 0
  })
  for (let more = 0; more < 5; more += 1) await publish()
  await until(() => receiver.events.length >= taken && offers >= 5)
  const nths = receiver.events.map(({ body }) => Number(body['nth']))
  assert.deepEqual(
    nths.toSorted((left, right) => left - right),
    Array.from({ length: taken }, (_, nth) => nth),
  )
})
