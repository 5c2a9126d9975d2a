import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, test } from 'node:test'
import { createId } from '#core/ids.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { insertWork } from '#jobs'
import { type EndedDelivery, finishDeliveries, listAttempts, type NewAttemptRow } from './queries.ts'

const { database } = await createTestDatabase({ after })
const now = new Date()
const endpointId = createId('end')

interface Held {
  id: string
  eventId: string
  token: string
}

/** A delivery that a worker has claimed. */
async function claim(): Promise<Held> {
  const [id, eventId, token] = [createId('dlv'), createId('evt'), randomUUID()]
  const place = { lane: `${endpointId}/acme`, series: endpointId, tenant_id: 'acme', product_id: 'shop' }
  await insertWork(database.system, [{ id, kind: 'delivery', ref: eventId, run_at: now, ...place }])
  await database.system.updateTable('work').set({ token, attempts: 1 }).where('id', '=', id).execute()
  return { id, eventId, token }
}

function end(held: Held, result: EndedDelivery['ending']['result'], attempt?: Partial<NewAttemptRow>) {
  const { id, eventId, token } = held
  const item = {
    id,
    kind: 'delivery',
    lane: `${endpointId}/acme`,
    series: endpointId,
    number: 7,
    ordered: false,
    tenantId: 'acme',
    productId: 'shop',
    ref: eventId,
    runAt: now,
    attempt: 1,
  } as const
  const ending = { claim: { item, limits: undefined, token, claimedAt: performance.now() }, result }
  return { ending, attempt: attempt && { ...usual(held), ...attempt } }
}

function usual({ id, eventId }: Held): NewAttemptRow {
  return {
    id: createId('att'),
    delivery_id: id,
    event_id: eventId,
    endpoint_id: endpointId,
    tenant_id: 'acme',
    attempt: 1,
    outcome: 'delivered',
    status: 200,
    error: null,
    response: null,
    duration_ms: 12,
    next_attempt_at: null,
    attempted_at: now,
    number: 7,
    lookup_ms: null,
    connect_ms: 3,
    first_byte_ms: 11,
    body_sha256: '01'.repeat(32),
    version: 2,
    signature: 'v1,fake',
    header_names: 'x-shop',
  }
}

async function readWork(ids: readonly string[]) {
  return database.system.selectFrom('work').select(['id', 'run_at']).where('id', 'in', ids).execute()
}

const done = { kind: 'done' } as const

test('each attempt is stored as it was, beside its delivery that is over or waits', async () => {
  const [over, failed] = [await claim(), await claim()]
  const later = new Date(now.getTime() + 60_000)
  const bad = {
    outcome: 'retry',
    status: null,
    error: 'No "answer"\\, {none}',
    response: 'ñ €',
    next_attempt_at: later,
    lookup_ms: 5,
    first_byte_ms: null,
  } as const
  const ended = [
    end(over, done, {}),
    end(failed, { kind: 'retry', runAt: later, counts: true }, { ...bad, header_names: null }),
  ]
  assert.deepEqual(await finishDeliveries(database.system, ended, now), [true, true])
  const rows = await listAttempts(database.system, [over.eventId, failed.eventId])
  const stored = rows.map(({ place, body_sha256: hash, ...row }) => {
    assert.ok(place !== null && place > 0)
    return { ...row, body_sha256: hash?.toString('hex') }
  })
  const expected = ended
    .map(({ attempt }) => attempt)
    .toSorted((a, b) => ((a?.id ?? '') < (b?.id ?? '') ? -1 : 1))
  assert.deepEqual(stored, expected)
  assert.deepEqual(await readWork([over.id, failed.id]), [{ id: failed.id, run_at: later }])
})

test('of a claim that was lost nothing is stored and nothing ends, even beside the one that took over', async () => {
  const [lost, taken, handedBack] = [await claim(), await claim(), await claim()]
  const late = (held: Held) => end({ ...held, token: randomUUID() }, done, { response: 'late' })
  const ended = [late(lost), late(taken), end(taken, done, {}), end(handedBack, { kind: 'release' })]
  assert.deepEqual(await finishDeliveries(database.system, ended, now), [false, false, true, true])
  const stored = await listAttempts(database.system, [lost.eventId, taken.eventId, handedBack.eventId])
  assert.deepEqual(
    stored.map(({ event_id: eventId, response }) => ({ eventId, response })),
    [{ eventId: taken.eventId, response: null }],
  )
  const left = (await readWork([lost.id, taken.id, handedBack.id])).map(({ id }) => id)
  assert.deepEqual(left.toSorted(), [lost.id, handedBack.id].toSorted())
})
