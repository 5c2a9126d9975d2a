import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { createId } from '#core/ids.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import type { WorkItem } from '#jobs'
import { createDeliverySources } from './delivery-source.ts'
import { insertEndpoint } from './queries.ts'
import { until } from './testing.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const endpointId = createId('end')

before(async () => {
  const owner = await connectOwner()
  await owner.query(`insert into products (id, name) values ('shop', 'Shop')`)
  await owner.end()
  await insertEndpoint(database.system, {
    id: endpointId,
    product_id: 'shop',
    tenant_id: null,
    url: 'https://first.example/',
    events: ['*'],
    filter: null,
    filter_path: null,
    sealed_headers: null,
    sealed_secret: 'fake',
    sealed_previous_secret: null,
    previous_secret_expires_at: null,
    public_key: null,
    previous_public_key: null,
    disabled_reason: null,
    max_in_flight: null,
    max_per_second: null,
  })
})

async function connectOwner(): Promise<pg.Client> {
  const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  return owner
}

function makeItem(): WorkItem {
  return {
    id: createId('dlv'),
    kind: 'delivery',
    lane: `${endpointId}/acme`,
    series: endpointId,
    number: 1,
    ordered: false,
    tenantId: 'acme',
    productId: 'shop',
    ref: createId('evt'),
    runAt: new Date(),
    attempt: 1,
  }
}

test('an endpoint in use is read again before its state is too old: no delivery waits for that', async () => {
  const sources = createDeliverySources({ database })
  const items = Array.from({ length: 60 }, makeItem)
  sources.expect(items)
  await sources.read(makeItem())
  await until(() => sources.known(items.pop()!) !== undefined)
  const owner = await connectOwner()
  // A busy machine may sleep so long that the state is too old: then it is read anew, and this is tried again.
  let atHand = 0
  while (atHand === 0 && items.length > 1) {
    sources.forgetEndpoint(endpointId)
    await sources.read(makeItem())
    await owner.query('begin; lock table endpoints in access exclusive mode')
    await delay(55)
    const renewing = sources.known(items.pop()!)
    await delay(55)
    if (renewing !== undefined && sources.known(items.pop()!) !== undefined) atHand += 1
    await owner.query('rollback')
  }
  await owner.end()
  assert.equal(atHand, 1)
})

test('a change of an endpoint that is always in use is seen in a moment', async () => {
  const sources = createDeliverySources({ database })
  const before = await sources.read(makeItem())
  assert.equal(before.endpoint?.url, 'https://first.example/')
  await database.system
    .updateTable('endpoints')
    .set({ url: 'https://second.example/' })
    .where('id', '=', endpointId)
    .execute()
  await until(async () => {
    const { endpoint } = await sources.read(makeItem())
    return endpoint?.url === 'https://second.example/'
  })
})

test('what is known of an endpoint is soon believed no more, however long the next state takes to be read', async () => {
  const sources = createDeliverySources({ database })
  const items = Array.from({ length: 200 }, makeItem)
  sources.expect(items)
  const owner = await connectOwner()
  await until(() => sources.known(items.pop()!) !== undefined)
  await owner.query('begin; lock table endpoints in access exclusive mode')
  const lockedAt = performance.now()
  let believedMs = 0
  for (let ms = 0; ms < 600; ms = performance.now() - lockedAt) {
    if (sources.known(items.pop()!) !== undefined) believedMs = ms
    await delay(10)
  }
  await owner.end()
  assert.ok(believedMs < 200, `it was believed for ${believedMs} ms`)
})
