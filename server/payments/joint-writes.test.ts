import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { after, test } from 'node:test'
import { type RawBuilder, sql } from 'kysely'
import pg from 'pg'
import type { TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { endUntouched } from './joint-queries.ts'
import { storeTogether } from './joint-writes.ts'
import { toLogRow } from './payment-log.ts'
import { findPayment, type PaymentRow } from './queries.ts'
import { applyAtOnce } from './snapshots.ts'
import { accounts, startPaymentsServer, tenantId } from './testing/server.ts'

const server = await startPaymentsServer({ after })
const { context } = server.server
const { database } = context
const scope: TenantScope = { tenantId, productId: 'tableflow', traceId: '0'.repeat(32) }
const sale = { amount: 15_990, currency: 'CLP' }
const byStripe = { ...sale, provider: 'stripe', token: 'pm_card_visa' }
const byMercadopago = {
  ...sale,
  provider: 'mercadopago',
  token: 'tok_apro',
  brand: 'visa',
  customer: { email: 'ana@example.com' },
}
const pay = (fields: object) =>
  server.api.call<{ id: string; status: string; code: string; provider: string }>(
    'POST',
    '/payments/create',
    { tenant_id: tenantId, ...fields },
  )
const change = (statement: RawBuilder<unknown>) => database.asTenantOnce(scope, (db) => statement.execute(db))
/** As another process would, of whose changes this one hears nothing. */
const setActive = (provider: string, active: boolean) =>
  change(sql`update connections set active = ${active} where provider = ${provider} and deleted_at is null`)
const readRow = async (id: string): Promise<PaymentRow> => {
  const row = await database.readAsTenant(scope, (db) => findPayment(db, tenantId, id))
  assert.ok(row)
  return row
}

test('payments that are asked for at once have each its own end and events', async () => {
  await server.pay(byStripe)
  const payments = await Promise.all(
    Array.from({ length: 24 }, (_, index) => server.pay({ ...byStripe, amount: 1_000 + index })),
  )
  assert.deepEqual([...new Set(payments.map(({ status }) => status))], ['confirmed'])
  assert.equal(new Set(payments.map((payment) => payment.provider_payment_id)).size, payments.length)
  for (const [index, { id }] of payments.entries()) {
    const events = await server.eventsOf(id, ['payment.created', 'payment.confirmed'])
    assert.deepEqual(events.map(({ event, amount }) => `${event} ${String(amount)}`).toSorted(), [
      `payment.confirmed ${1_000 + index}`,
      `payment.created ${1_000 + index}`,
    ])
  }
})

test('the event of a payment is counted by whoever wrote its end down', async () => {
  const countConfirmed = async () => {
    const line = /^pipecore_events_recorded_total{type="payment.confirmed"} (\d+)/m
    return Number(line.exec(await context.metrics.render())?.[1] ?? 0)
  }
  await server.control('POST', 'payment-faults', { provider: 'stripe', fault: 'webhook_dropped' })
  const before = await countConfirmed()
  const row = await readRow((await server.pay(byStripe)).id)
  await server.control('DELETE', 'payment-faults')
  assert.equal(await countConfirmed(), before + 1)
  const touched = { ...row, status: 'pending' as const, updated_at: new Date(0) }
  const call = { logId: 'plg_none', change: { outcome: 'done' as const } }
  assert.equal(
    await applyAtOnce(context, scope, touched, { status: 'confirmed', captured: 15_990, refunded: 0 }, call),
    undefined,
  )
  assert.equal(await countConfirmed(), before + 1)
})

test('payments that are stored at once share a commit', async () => {
  const like = await readRow((await server.pay(byStripe)).id)
  const payments = Array.from({ length: 24 }, () => ({
    ...like,
    id: createId('pay'),
    provider_payment_id: null,
    return_token: createId('pay'),
  }))
  const call = toLogRow(context, scope, { subject: '', provider: 'stripe', action: 'create_payment' })
  const stored = await Promise.all(
    payments.map((payment) =>
      storeTogether(context, scope, { payment, call: { ...call, id: createId('plg'), subject: payment.id } }),
    ),
  )
  assert.deepEqual([...new Set(stored)], [true])
  const { rows } = await sql<{ count: number; commits: number }>`
    select count(*)::int as count, count(distinct xmin::text)::int as commits
      from payments where id = any(${payments.map(({ id }) => id)})`.execute(database.system)
  assert.deepEqual(rows, [{ count: payments.length, commits: 1 }])
})

test('of calls that end together, one whose payment was touched meanwhile is left alone', async () => {
  // A webhook would touch them both.
  await server.control('POST', 'payment-faults', { provider: 'stripe', fault: 'webhook_dropped' })
  const [first, second] = await Promise.all([server.pay(byStripe), server.pay(byStripe)])
  await server.control('DELETE', 'payment-faults')
  const known = await Promise.all([first.id, second.id].map(readRow))
  const acting = known.map((row) => ({ ...row, operation: '{"kind":"cancel"}' }))
  for (const { id, operation } of acting) {
    await change(sql`update payments set operation = ${operation} where id = ${id}`)
  }
  await change(sql`update payments set updated_at = now() where id = ${second.id}`)
  const written = await database.asTenantOnce(scope, (db) =>
    endUntouched(
      db,
      acting.map((row) => ({
        known: row,
        next: { ...row, operation: null, failure: '{"code":"ended"}' },
        call: { logId: 'plg_none', change: { outcome: 'done' } },
      })),
      (ended) => sql<number>`array_length(array_remove(${ended}, false), 1)`,
    ),
  )
  assert.deepEqual(written, { ended: [true, false], opened: 1 })
  assert.deepEqual(
    (await Promise.all([first.id, second.id].map(readRow))).map(({ operation, failure }) => [
      operation,
      failure,
    ]),
    [
      [null, '{"code":"ended"}'],
      ['{"kind":"cancel"}', null],
    ],
  )
})

test('an account that another process closed takes no payment more, one that it opened takes the next', async () => {
  assert.equal((await pay(byStripe)).status, 201)
  await setActive('stripe', false)
  const refused = await pay(byStripe)
  assert.deepEqual([refused.status, refused.body.code], [422, 'connection_missing'])
  await setActive('stripe', true)
  assert.equal((await pay(byStripe)).status, 201)

  const anywhere = { ...sale, token: 'pm_card_visa' }
  await setActive('mercadopago', false)
  assert.equal((await pay(anywhere)).body.provider, 'stripe')
  await setActive('stripe', false)
  await setActive('mercadopago', true)
  const moved = await pay({ ...byMercadopago, provider: undefined })
  assert.deepEqual([moved.status, moved.body.provider], [201, 'mercadopago'])
  await setActive('stripe', true)
})

test('a webhook about a payment that is known is followed by one reading, which the story tells after it', async () => {
  const payment = await server.pay(byMercadopago)
  const steps = await storyWith(payment.id, 'read_payment')
  assert.deepEqual(
    steps.map(({ action }) => action),
    ['create_payment', 'webhook_received', 'read_payment'],
  )
  const { requests } = await server.control<{ requests: Array<{ method: string; url: string }> }>(
    'GET',
    'requests?limit=500',
  )
  const readings = requests.filter(
    ({ method, url }) => method === 'GET' && url.includes(`/v1/payments/${payment.provider_payment_id}`),
  )
  assert.equal(readings.length, 1)
  assert.equal((await readRow(payment.id)).updated_at.toISOString(), (await endOf(payment.id)).toISOString())
})

test('a webhook that was signed with a secret set a moment ago is taken', async () => {
  await server.pay(byMercadopago)
  const path = `accounts/mercadopago/${accounts.mercadopago}`
  const account = await server.control('PUT', path, { webhook_secret: 'another-secret-of-the-tests' })
  const credentials = { accessToken: accounts.mercadopago, currency: 'CLP' }
  await server.api.call('POST', '/payments/config/provider', {
    tenantId,
    provider: 'mercadopago',
    priority: 1,
    credentials: { ...credentials, webhookSecret: account['webhook_secret'] },
  })
  const payment = await server.pay(byMercadopago)
  await storyWith(payment.id, 'webhook_received')
})

test('a column that a later release adds does not stop payments, nor their webhooks', async () => {
  const owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  for (const table of ['payments', 'payment_log']) {
    await owner.query(`alter table ${table} add column tip bigint not null default 0`)
  }
  await owner.end()
  const payment = await server.pay(byMercadopago)
  await server.pay(byStripe)
  await storyWith(payment.id, 'read_payment')
})

async function storyWith(id: string, action: string): Promise<Array<{ action: string }>> {
  const deadline = performance.now() + 20_000
  for (;;) {
    const { rows } = await sql<{ action: string }>`
      select action from payment_log where subject = ${id} order by id`.execute(database.system)
    if (rows.some((row) => row.action === action)) return rows
    assert.ok(performance.now() < deadline, JSON.stringify(rows))
    await sleep(20)
  }
}

/** When the answer to our own call changed it last. */
async function endOf(id: string): Promise<Date> {
  const { confirmed_at: at } = await readRow(id)
  assert.ok(at)
  return at
}
