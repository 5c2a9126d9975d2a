import assert from 'node:assert/strict'
import { after, afterEach, test } from 'node:test'
import { sql } from 'kysely'
import type { Method } from './methods/schema.ts'
import { startPaymentsServer, tenantId } from './testing/server.ts'
import { createSubscriber, saveOneclickCard } from './testing/subscriptions.ts'

const server = await startPaymentsServer({ after })
const subscriber = createSubscriber(server)
// Webhooks that are read meanwhile would take the turns that tests mean for what they ask.
await server.control('POST', 'payment-faults', { provider: 'stripe', fault: 'webhook_dropped', times: null })
const { database, providerOutbound } = server.server.context
const [whole, connected] = [{ ...database }, { ...providerOutbound }]
afterEach(mend)

function mend(): void {
  Object.assign(database, whole)
  Object.assign(providerOutbound, connected)
}

const pay = (reference: string) =>
  server.api.call<{ id: string; status: string; detail: string }>('POST', '/payments/create', {
    tenant_id: tenantId,
    provider: 'stripe',
    token: 'pm_card_visa',
    amount: 15_990,
    currency: 'CLP',
    reference,
  })

/** The connection breaks once a statement of its own transaction, counted from now, has been committed. */
function loseAnswer(nth: number): void {
  let count = 0
  database.asTenantOnce = async (...call) => {
    const result = await whole.asTenantOnce(...call)
    count += 1
    if (count === nth) throw new Error('Connection terminated unexpectedly')
    return result
  }
}

/** Tenants' rows are out of reach. */
function loseDatabase(): void {
  const fail = async () => {
    throw new Error('Connection terminated unexpectedly')
  }
  Object.assign(database, { asTenant: fail, asTenantOnce: fail, readAsTenant: fail })
}

/** Once a provider has been asked to act. */
function loseDatabaseWithCall(): void {
  providerOutbound.request = async (call) => {
    const answer = await connected.request(call)
    if (call.method !== 'GET') loseDatabase()
    return answer
  }
}

const refund = (id: string) =>
  server.api.call<{ id: string; status: string }>('POST', `/payments/${id}/refunds`, {})

async function chargesOf(reference: string): Promise<number[]> {
  const { rows } = await sql<{ id: string }>`
    select id from payments where reference = ${reference}`.execute(database.system)
  return Promise.all(rows.map(async (row) => (await server.books('stripe', row)).charges))
}

test('a payment whose storing was committed, but never answered, is made and answered', async () => {
  await pay('first')
  loseAnswer(1)
  const { status, body } = await pay('alone')
  assert.deepEqual([status, body.status], [201, 'confirmed'])
  assert.deepEqual(await chargesOf('alone'), [1])
})

test('so are payments that were stored together', async () => {
  await pay('warm')
  loseAnswer(1)
  const answers = await Promise.all(Array.from({ length: 3 }, () => pay('together')))
  assert.deepEqual(
    answers.map(({ status, body }) => [status, body.status]),
    answers.map(() => [201, 'confirmed']),
  )
  assert.deepEqual(await chargesOf('together'), [1, 1, 1])
})

test('an account that is closed while the answer is lost does not make a second payment of it', async () => {
  await pay('before')
  let isFirst = true
  const setActive = (active: boolean) =>
    sql`update connections set active = ${active} where provider = 'stripe' and deleted_at is null`
  database.asTenantOnce = async (scope, statement) => {
    const result = await whole.asTenantOnce(scope, statement)
    if (!isFirst) return result
    isFirst = false
    await whole.asTenantOnce(scope, (db) => setActive(false).execute(db))
    throw new Error('Connection terminated unexpectedly')
  }
  const { status } = await pay('closed')
  assert.equal(status, 201)
  assert.deepEqual(await chargesOf('closed'), [1])
  const scope = { tenantId, productId: 'tableflow', traceId: '' }
  await whole.asTenantOnce(scope, (db) => setActive(true).execute(db))
})

test('a payment whose end was committed, but never answered, is answered as it stands', async () => {
  loseAnswer(2)
  const { status, body } = await pay('ended')
  assert.deepEqual([status, body.status], [201, 'confirmed'])
})

test('a payment whose end met a connection that broke is written down by the next one', async () => {
  let statements = 0
  database.asTenantOnce = async (...call) => {
    statements += 1
    if (statements === 2) throw new Error('Connection terminated unexpectedly')
    return whole.asTenantOnce(...call)
  }
  const { status, body } = await pay('broken')
  assert.deepEqual([status, body.status], [201, 'confirmed'])
  assert.deepEqual(await chargesOf('broken'), [1])
})

test('a payment whose end can not be written down is answered as under way, and its end is found out', async () => {
  let isStored = false
  const fail = async () => {
    throw new Error('Connection terminated unexpectedly')
  }
  database.asTenantOnce = async (...call) => {
    if (isStored) return fail()
    isStored = true
    return whole.asTenantOnce(...call)
  }
  const { status, body } = await pay('unwritten')
  assert.deepEqual([status, body.status], [201, 'pending'])
  Object.assign(database, whole)
  await server.waitFor(body.id, (payment) => payment.status === 'confirmed')
  assert.deepEqual(await chargesOf('unwritten'), [1])
})

test('what fails before it is stored is not told to be undone', async () => {
  database.asTenantOnce = async () => {
    throw new Error('Connection terminated unexpectedly')
  }
  const { status, body } = await pay('refused')
  assert.equal(status, 500)
  assert.match(body.detail, /not known whether this was done/)
  assert.deepEqual(await chargesOf('refused'), [])
})

test('a refund whose end can be neither written down nor read is answered as under way, and its end is found out', async () => {
  const { body: payment } = await pay('given back')
  loseDatabaseWithCall()
  const { status, body } = await refund(payment.id)
  assert.deepEqual([status, body.status], [201, 'pending'])
  mend()
  await server.waitFor(payment.id, ({ refunded }) => refunded === 15_990)
  const books = await server.books('stripe', payment)
  assert.deepEqual([books.refunds, books.refunded], [1, 15_990])
})

test('so is one that the provider refuses for a state that can not be looked at', async () => {
  const { body: payment } = await pay('elsewhere')
  const { provider_payment_id: intent } = await server.read(payment.id)
  await server.control('POST', 'act', {
    provider: 'stripe',
    action: 'refund',
    payment: intent,
    webhook: false,
  })
  loseDatabaseWithCall()
  const { status, body } = await refund(payment.id)
  assert.deepEqual([status, body.status], [201, 'pending'])
  mend()
  await server.waitFor(payment.id, (seen) => seen.refunded === 15_990 && seen.under_way === null)
  assert.equal((await server.books('stripe', payment)).refunds, 1)
})

test('a subscription whose beginning can not be written down is answered as it stands, and begins once', async () => {
  loseDatabaseWithCall()
  const { id, status } = await subscriber.create({ provider: 'stripe', token: 'pm_card_visa' })
  assert.equal(status, 'pending')
  mend()
  await subscriber.waitFor(id, (one) => one.status === 'active')
  assert.equal(await subscriber.countCharged('stripe', id), 1)
})

test('so is one that is charged here', async () => {
  const { methodId } = await saveOneclickCard(server)
  loseDatabaseWithCall()
  const { id, status } = await subscriber.create({ method_id: methodId })
  assert.equal(status, 'pending')
  mend()
  await subscriber.waitFor(id, (one) => one.status === 'active')
  assert.equal(await subscriber.countCharged('transbank', id), 1)
})

test('a change of a subscription whose end can not be written down is answered as it stands', async () => {
  const { id } = await subscriber.create({ provider: 'stripe', token: 'pm_card_visa' })
  loseDatabaseWithCall()
  assert.equal((await subscriber.cancel(id)).status, 'active')
  mend()
  await subscriber.waitFor(id, (one) => one.status === 'canceled')
})

test('so is one that is committed and can not be acted on at once', async () => {
  const { methodId } = await saveOneclickCard(server)
  const { id } = await subscriber.create({ method_id: methodId })
  database.asTenant = async (...call) => {
    const result = await whole.asTenant(...call)
    loseDatabase()
    return result
  }
  assert.equal((await subscriber.cancel(id)).status, 'canceled')
})

test('a method whose saving can not be written down is answered as it stands, and ends', async () => {
  loseDatabaseWithCall()
  const { status, body: method } = await server.api.call<Method>('POST', '/payments/methods', {
    tenant_id: tenantId,
    provider: 'stripe',
    token: 'pm_card_visa',
    customer: { reference: 'customer_1' },
  })
  assert.deepEqual([status, method.status], [201, 'pending'])
  mend()
  await server.passTime(65 * 60_000)
  await server.eventsOf(method.id, ['payment_method.canceled'])
})
