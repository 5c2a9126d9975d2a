import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import {
  accounts,
  type BrowserStep,
  followBrowser,
  type PaymentsServer,
  type ProviderId,
  startPaymentsServer,
  tenantId,
} from '../testing/server.ts'
import { visitPage } from '../testing/subscriptions.ts'
import type { Method } from './schema.ts'

let server: PaymentsServer
const endings: Array<() => Promise<void>> = []

before(async () => {
  server = await startPaymentsServer({ after: (end) => void endings.push(end) })
})
after(async () => {
  for (const end of endings.toReversed()) await end()
})
afterEach(async () => {
  await server.control('DELETE', 'payment-faults')
})

async function begin(provider: ProviderId, tenant = tenantId): Promise<Method> {
  const { status, body } = await server.api.call<Method>('POST', '/payments/methods', {
    tenant_id: tenant,
    provider,
    customer: { reference: 'customer_1', email: 'ana@example.com' },
    return_url: 'https://shop.example.com/cards',
  })
  assert.equal(status, 201, JSON.stringify(body))
  return body
}

async function read(id: string): Promise<Method> {
  return (await server.api.call<Method>('GET', `/payments/methods/${id}`)).body
}

async function statusOf(id: string): Promise<string> {
  return (await read(id)).status
}

/** While seconds or minutes pass. */
async function waitFor(id: string, status: string, stepMs: number): Promise<void> {
  for (let step = 0; (await statusOf(id)) !== status; step += 1) {
    assert.ok(step < 60, `still ${await statusOf(id)}`)
    await server.passTime(stepMs)
    await sleep(200)
  }
}

/** A browser asks the provider. */
async function untilClaimed(id: string): Promise<void> {
  const { database } = server.server.context
  for (let poll = 0; ; poll += 1) {
    const { rows } = await sql`
      select from payment_methods where id = ${id} and finishing_at is not null`.execute(database.system)
    if (rows.length > 0) return
    assert.ok(poll < 200, 'nobody asks')
    await sleep(10)
  }
}

const pageOf = ({ next_action: action }: Method) =>
  action?.fields['TBK_TOKEN'] ?? new URL(action?.url ?? '').pathname.split('/').at(-1)

function breakCalls(provider: ProviderId, fault: string, rest: object) {
  return server.control('POST', 'payment-faults', { provider, fault, ...rest })
}

describe('a saved method whose end the provider did not tell', () => {
  test('is asked for again while the provider still knows, and saved', async () => {
    const method = await begin('transbank')
    await breakCalls('transbank', 'hang', { operation: 'method', times: 1 })
    await visitPage(server, 'transbank', pageOf(method), 'approve')
    assert.equal(await statusOf(method.id), 'pending')
    await waitFor(method.id, 'active', 1_000)
    await server.eventsOf(method.id, ['payment_method.saved'])
  })

  test('has failed where it was finished, but the card that came of it was lost on the way', async () => {
    const method = await begin('transbank')
    await breakCalls('transbank', 'hang_after', { operation: 'method', times: 1 })
    await visitPage(server, 'transbank', pageOf(method), 'approve')
    assert.equal(await statusOf(method.id), 'pending')
    await waitFor(method.id, 'failed', 1_000)
    await server.eventsOf(method.id, ['payment_method.failed'])
  })

  test('is saved where the customer opens the way back again while it is asked for', async () => {
    const method = await begin('transbank')
    const page = { provider: 'transbank', id: pageOf(method), choice: 'approve' }
    const { next } = await server.control<{ next: BrowserStep }>('POST', 'pay', page)
    await breakCalls('transbank', 'hang', { operation: 'method', times: 2 })
    await followBrowser(next)
    const again = followBrowser(next)
    await untilClaimed(method.id)
    // The job is due while the second browser waits.
    await server.passTime(2_000)
    await again
    assert.equal(await statusOf(method.id), 'pending')
    await waitFor(method.id, 'active', 1_000)
  })

  test('is asked for again where the process dies while it asks', async () => {
    const method = await begin('stripe')
    const page = { provider: 'stripe', id: pageOf(method), choice: 'approve' }
    const { next } = await server.control<{ next: BrowserStep }>('POST', 'pay', page)
    await breakCalls('stripe', 'hang', { operation: 'read', times: 1 })
    const first = followBrowser(next)
    await untilClaimed(method.id)
    const { database } = server.server.context
    const whole = { ...database }
    database.asTenant = () => Promise.reject(new Error('The process is dead.'))
    await first
    Object.assign(database, whole)
    assert.equal(await statusOf(method.id), 'pending')
    await waitFor(method.id, 'active', 1_000)
  })

  test('is read back where the provider can be asked, however long it is away', async () => {
    const method = await begin('stripe')
    await breakCalls('stripe', 'hang', { operation: 'read', times: 3 })
    await visitPage(server, 'stripe', pageOf(method), 'approve')
    assert.equal(await statusOf(method.id), 'pending')
    await waitFor(method.id, 'active', 5_000)
  })
})

describe('a method that was left alone', () => {
  test('is canceled, but saved where the customer entered it and closed the browser', async () => {
    const [left, entered, inscribed] = [
      await begin('stripe'),
      await begin('stripe'),
      await begin('transbank'),
    ]
    await server.control('POST', 'pay', { provider: 'stripe', id: pageOf(entered), choice: 'approve' })
    await server.passTime(65 * 60_000)
    await waitFor(entered.id, 'active', 60_000)
    await waitFor(left.id, 'canceled', 60_000)
    await waitFor(inscribed.id, 'canceled', 60_000)
  })

  test('is canceled also while the account of another one can not be opened, and that one after a day', async () => {
    const unreadable = await begin('transbank')
    await server.api.call('POST', '/tenants', { id: 'other', product_id: 'tableflow', name: 'Other' })
    await server.api.call('POST', '/payments/config/provider', {
      tenantId: 'other',
      provider: 'stripe',
      credentials: { secretKey: accounts.stripe, webhookSecret: 'whsec_abcdefabcdefabcdefabcdef' },
    })
    const left = await begin('stripe', 'other')
    const scope = { tenantId, productId: 'tableflow', traceId: '' }
    await server.server.context.database.asTenantOnce(scope, (db) =>
      sql`update connections set sealed_credentials = 'broken' where provider = 'transbank'`.execute(db),
    )
    await server.passTime(65 * 60_000)
    await waitFor(left.id, 'canceled', 60_000)
    assert.equal(await statusOf(unreadable.id), 'pending')
    await server.passTime(24 * 60 * 60_000)
    await waitFor(unreadable.id, 'canceled', 60_000)
  })
})
