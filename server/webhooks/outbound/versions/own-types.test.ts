import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'
import type { EventType } from '#core/module.ts'
import { createTraceId } from '#core/trace.ts'
import { wakeWork } from '#jobs'
import { startReceiver } from '../../../testing/receiver.ts'
import { startTestServer } from '../../../testing/server.ts'
import { createDispatcher } from '../dispatch.ts'
import { createEndpoint } from '../endpoints.ts'
import { recordEvents } from '../events.ts'
import { readFeed } from '../feed/feed.ts'
import { NewEndpoint } from '../schema.ts'

/** PipeCore has no second version of anything yet. */
const types: readonly EventType[] = [
  {
    name: 'guest.seated',
    version: 2,
    description: 'A guest was seated.',
    schema: z.object({ first: z.string(), last: z.string() }),
    older: [
      {
        version: 1,
        schema: z.object({ name: z.string() }),
        from: ({ first, last, ...rest }) => ({ ...rest, name: [first, last].join(' ') }),
      },
    ],
  },
]

test('an event of PipeCore arrives, and stands in the feed, in the version that an endpoint pins', async (t) => {
  const cleanups: Array<() => Promise<void>> = []
  const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }
  t.after(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup()
  })
  const { api, server } = await startTestServer(keep, { role: 'api' })
  const { context } = server
  await api.call('POST', '/products', { id: 'shop', name: 'Shop' })
  await api.call('POST', '/tenants', { id: 'tenant_a', product_id: 'shop', name: 'A' })
  const dispatcher = createDispatcher(context, types)
  dispatcher.start()
  keep.after(() => dispatcher.stop(1_000))
  const admin = { kind: 'admin' as const, scopes: ['*'], expiresAt: null }
  const endpointOf = (url: string, versions: object) =>
    createEndpoint(context, admin, NewEndpoint.parse({ url, tenant_id: 'tenant_a', versions }), types)
  const [old, plain] = [await startReceiver(keep), await startReceiver(keep)]
  const pinned = await endpointOf(old.url, { 'guest.seated': 1 })
  await endpointOf(plain.url, {})
  await assert.rejects(endpointOf(plain.url, { 'guest.seated': 3 }), /can not be pinned/)

  const now = context.now()
  const scope = { tenantId: 'tenant_a', productId: 'shop', traceId: createTraceId() }
  const data = { first: 'Ana', last: 'Rojas' }
  const event = { type: 'guest.seated', version: 2, entity: 'guest_1', occurredAt: now, data }
  await context.database.asTenant(scope, (db) => recordEvents(db, scope, [event], now))
  wakeWork('delivery')

  const newest = await plain.waitFor(({ body }) => body.event === 'guest.seated')
  assert.deepEqual([newest.headers['webhook-version'], newest.body['first']], ['2', 'Ana'])
  const older = await old.waitFor(({ body }) => body.event === 'guest.seated')
  const { first: _first, last: _last, ...envelope } = newest.body
  assert.equal(older.headers['webhook-version'], '1')
  assert.deepEqual(older.body, { ...envelope, name: 'Ana Rojas' })
  new Webhook(pinned.secret ?? '').verify(older.text, older.headers as Record<string, string>)
  const { data: feed } = await readFeed(context, admin, pinned.id, { limit: 10 }, types)
  assert.deepEqual(
    feed.map(({ version, body }) => [version, body]),
    [[1, older.body]],
  )
})
