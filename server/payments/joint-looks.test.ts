import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import type { TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { factRecording } from '#webhooks/inbound'
import { eventRecording } from '#webhooks/outbound'
import { eventAbout } from './events.ts'
import { endUntouched, insertQuietLooks } from './joint-queries.ts'
import { readNamed } from './joint-reads.ts'
import { lookTogether } from './joint-writes.ts'
import { toLogRow } from './payment-log.ts'
import { findPayment, insertLog, insertPayment, listLogOf, type LogRow, type PaymentRow } from './queries.ts'
import { startPaymentsServer, tenantId } from './testing/server.ts'

const server = await startPaymentsServer({ after })
const { context } = server.server
const { database } = context
const scope: TenantScope = { tenantId, productId: 'tableflow', traceId: '0'.repeat(32) }
const provider = 'stripe'

// A webhook would touch it.
await server.control('POST', 'payment-faults', { provider, fault: 'webhook_dropped' })
const { id: likeId } = await server.pay({ provider, amount: 1_000, currency: 'CLP', token: 'pm_card_visa' })
const like = await database.readAsTenant(scope, (db) => findPayment(db, tenantId, likeId))
assert.ok(like)

/** Payments that nothing acts on, in order. */
async function insertLike(count: number, fields: Partial<PaymentRow> = {}): Promise<PaymentRow[]> {
  const rows = Array.from({ length: count }, () => {
    const id = createId('pay')
    return { ...like!, id, return_token: id, provider_payment_id: `pi_${id}`, ...fields }
  })
  await database.asTenant(scope, async (db) => {
    for (const row of rows) await insertPayment(db, row)
  })
  return rows
}

function lookAt(known: PaymentRow, key = known.id) {
  const about = { subject: known.id, provider }
  const webhookId = createId('whk')
  return {
    known,
    read: toLogRow(context, scope, { ...about, action: 'read_payment', outcome: 'done' }),
    notice: toLogRow(context, scope, { ...about, action: 'webhook_received', webhookId }),
    fact: { tenantId, provider, key, webhookId },
  }
}

async function logOf(known: readonly PaymentRow[]) {
  const ids = known.map(({ id }) => id)
  const { rows } = await sql<{ subject: string; action: string; commit: string }>`
    select subject, action, xmin::text as commit from payment_log
    where subject = any(${ids}) order by array_position(${ids}::text[], subject), id`.execute(database.system)
  return rows
}

const touch = ({ id }: PaymentRow) =>
  database.asTenantOnce(scope, (db) =>
    sql`update payments set updated_at = now() where id = ${id}`.execute(db),
  )

test('what webhooks named at the same moment is read together, each payment for its own', async () => {
  const known = await insertLike(5)
  let transactions = 0
  const counted = {
    ...context,
    database: {
      ...database,
      readAsTenant: ((own, work) => {
        transactions += 1
        return database.readAsTenant(own, work)
      }) as typeof database.readAsTenant,
    },
  }
  const names = [
    ...known.map((row) => ({ providerPaymentId: String(row.provider_payment_id) })),
    { providerPaymentId: 'pi_nobody' },
    { providerPaymentId: 'pi_not_told_yet', paymentId: known[0]!.id },
  ]
  const read = await Promise.all(names.map((ids) => readNamed(counted, scope, provider, ids)))
  assert.deepEqual(
    read.map((one) => one?.payment.id),
    [...known.map(({ id }) => id), undefined, known[0]!.id],
  )
  assert.equal(read[0]?.connections?.[0]?.id, server.connections.stripe)
  assert.equal(transactions, 1)
  const foreign = { ...scope, tenantId: 'somebody_else' }
  assert.equal(await readNamed(context, foreign, provider, names[0]!), undefined)
})

test('webhooks that told nothing new are written down together', async () => {
  const known = await insertLike(6)
  const written = await Promise.all(known.map((row) => lookTogether(context, scope, lookAt(row))))
  assert.deepEqual(new Set(written), new Set([true]))
  const log = await logOf(known)
  assert.deepEqual(
    log.map(({ subject, action }) => `${subject} ${action}`).toSorted(),
    known.flatMap(({ id }) => [`${id} read_payment`, `${id} webhook_received`]).toSorted(),
  )
  assert.equal(new Set(log.map(({ commit }) => commit)).size, 1)
})

test('of looks that are written together, one at a payment that was touched, acts or was given back is not', async () => {
  const [touched, left, refunded] = (await insertLike(3)) as [PaymentRow, PaymentRow, PaymentRow]
  const [acting] = (await insertLike(1, { operation: '{}' })) as [PaymentRow]
  await touch(touched)
  await database.asTenantOnce(scope, (db) =>
    sql`insert into payment_refunds (id, tenant_id, payment_id, amount, status, source, created_at)
      values (${createId('rfd')}, ${tenantId}, ${refunded.id}, 1, 'pending', 'api', now())`.execute(db),
  )
  const known = [touched, left, acting, refunded]
  const looks = known.map((row) => lookAt(row))
  const facts = looks.map(({ fact }) => fact)
  const write = () =>
    database.asTenantOnce(scope, (db) => insertQuietLooks(db, looks, (due) => factRecording(facts, due)))
  assert.deepEqual(await write(), [false, true, false, false])
  assert.deepEqual(
    (await logOf(known)).map(({ subject }) => subject),
    [left.id, left.id],
  )
  // As after an answer that was lost.
  assert.deepEqual(await write(), [false, true, false, false])
  assert.equal((await logOf(known)).length, 2)
})

test('a fact that two webhooks report at once is written down once', async () => {
  const [row] = (await insertLike(1)) as [PaymentRow]
  const looks = [lookAt(row, 'twice'), lookAt(row, 'twice')]
  const facts = looks.map(({ fact }) => fact)
  const written = await database.asTenantOnce(scope, (db) =>
    insertQuietLooks(db, looks, (due) => factRecording(facts, due)),
  )
  assert.deepEqual(written, [true, true])
  assert.deepEqual((await logOf([row])).map(({ action }) => action).toSorted(), [
    'read_payment',
    'read_payment',
    'webhook_received',
  ])
})

test('of calls that end together only those are told that were written', async () => {
  const known = await insertLike(3, { operation: '{}' })
  await touch(known[1]!)
  const ends = known.map((row) => ({
    known: row,
    next: { ...row, operation: null },
    call: { logId: createId('plg'), change: { outcome: 'done' } },
  }))
  const tellings = known.map((row) => {
    const now = context.now()
    return {
      scope,
      events: [eventAbout(row, 'payment.created', now), eventAbout(row, 'payment.confirmed', now)],
      now,
    }
  })
  const { ended, opened } = await database.asTenantOnce(scope, (db) =>
    endUntouched(db, ends, (due) => eventRecording(tellings, due)),
  )
  assert.deepEqual([ended, opened], [[true, false, true], 4])
  const ids = known.map(({ id }) => id)
  const { rows } = await sql<{ told: string }>`
    select entity || ' ' || type as told from events where entity = any(${ids})
    order by array_position(${ids}::text[], entity), type`.execute(database.system)
  assert.deepEqual(
    rows.map(({ told }) => told),
    [ids[0], ids[2]].flatMap((id) => [`${id} payment.confirmed`, `${id} payment.created`]),
  )
})

test('the end of a call is written column for column as it was told, and so is what there is not', async () => {
  const [known] = (await insertLike(1, { operation: '{}' })) as [PaymentRow]
  const at = (second: number) => new Date(Date.UTC(2027, 0, 1, 0, 0, second, 123))
  const text = (name: string) => JSON.stringify({ [name]: 'ñ 😀 "\\" \n \u0000' })
  const whole: PaymentRow = {
    ...known,
    status: 'authorized',
    captured: Number.MAX_SAFE_INTEGER,
    provider_payment_id: `pi_${known.id}`,
    provider_checkout_id: 'cs_1',
    method_token: 'sealed',
    action: text('action'),
    method: text('method'),
    failure: text('failure'),
    dispute: 'won',
    details: text('details'),
    operation: text('operation'),
    told: true,
    check_at: at(1),
    expires_at: at(2),
    authorized_at: at(3),
    confirmed_at: at(4),
    ended_at: at(5),
    updated_at: at(6),
  }
  const bare: PaymentRow = {
    ...whole,
    captured: 0,
    provider_payment_id: null,
    provider_checkout_id: null,
    method_token: null,
    action: null,
    method: null,
    failure: null,
    dispute: null,
    details: '{}',
    operation: null,
    check_at: null,
    expires_at: null,
    authorized_at: null,
    confirmed_at: null,
    ended_at: null,
    updated_at: at(7),
  }
  const row = toLogRow(context, scope, { subject: known.id, provider, action: 'x', note: 'As it began.' })
  await database.asTenant(scope, (db) => insertLog(db, row))
  const told = { outcome: 'done', duration_ms: 1, answer_status: 201, answer: text('answer') }
  const end = async (before: PaymentRow, next: PaymentRow, change: Partial<LogRow>) => {
    const ends = [{ known: before, next, call: { logId: row.id, change } }]
    const { ended } = await database.asTenantOnce(scope, (db) => endUntouched(db, ends, () => sql<number>`0`))
    assert.deepEqual(ended, [true])
    assert.deepEqual(await database.readAsTenant(scope, (db) => findPayment(db, tenantId, known.id)), next)
    const [written] = await database.readAsTenant(scope, (db) => listLogOf(db, tenantId, known.id))
    return written
  }
  assert.deepEqual(await end(known, whole, { ...told, note: 'It ended.' }), {
    ...row,
    ...told,
    note: 'It ended.',
  })
  assert.deepEqual(await end(whole, bare, { ...told, answer_status: null, answer: null }), {
    ...row,
    ...told,
    answer_status: null,
    answer: null,
    note: 'It ended.',
  })
})
