import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Kysely } from 'kysely'
import type { Tables } from '#core/database.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { recordEvents } from '../events.ts'
import { recordedGauges } from './recorded.ts'

const { database } = await createTestDatabase({ after })
const now = new Date()
const scope = { tenantId: 'acme', productId: 'shop', traceId: '' }
const record = (type: string) => (db: Kysely<Tables>) =>
  recordEvents(db, scope, [{ type, entity: 'thing_1', occurredAt: now, data: {} }], now)

async function counted(): Promise<Record<string, number>> {
  const samples = await recordedGauges.read()
  return Object.fromEntries(samples.map(({ labels, value }) => [labels?.['type'] ?? '', value]))
}

test('events are counted once they are committed, however they were recorded', async () => {
  await database.asTenant(scope, async (db) => {
    await record('thing.kept')(db)
    assert.deepEqual(await counted(), {})
  })
  await database.asTenantOnce(scope, record('thing.kept'))
  await database.asSystem(record('thing.kept'))
  await record('thing.kept')(database.system)
  assert.deepEqual(await counted(), { 'thing.kept': 4 })
})

test('what is rehearsed or rolled back is not counted', async () => {
  const failing = database.asTenant(scope, async (db) => {
    await record('thing.lost')(db)
    throw new Error('Something else failed.')
  })
  await assert.rejects(failing, /Something else failed/)
  await database.rehearseAsTenant(scope, record('thing.rehearsed'))
  const { 'thing.lost': lost, 'thing.rehearsed': rehearsed } = await counted()
  assert.deepEqual([lost, rehearsed], [undefined, undefined])
})
