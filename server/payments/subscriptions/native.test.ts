import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import {
  accounts,
  type PaymentsServer,
  type ProviderId,
  startPaymentsServer,
  tenantId,
} from '../testing/server.ts'
import {
  createSubscriber,
  dayMs,
  hourMs,
  monthly,
  type Subscriber,
  visitPage,
} from '../testing/subscriptions.ts'
import type { SubscriptionStory } from './schema.ts'

let server: PaymentsServer
let subscriber: Subscriber
const stops: Array<() => Promise<void>> = []

before(async () => {
  const keep = { after: (stop: () => Promise<void>) => void stops.push(stop) }
  server = await startPaymentsServer(keep, { PIPECORE_PROVIDER_TIMEOUT_MS: '1000' })
  subscriber = createSubscriber(server)
})

test.afterEach(async () => {
  await server.control('DELETE', 'payment-faults')
  await server.control('DELETE', 'payment-faults')
  await subscriber.cancelAll()
})

test.after(async () => {
  for (const stop of stops.toReversed()) await stop()
})

interface Fixture {
  provider: ProviderId & ('stripe' | 'mercadopago')
  good: { token: string; brand?: string }
  /** What the card does from now on. */
  declines: (id: string) => Promise<unknown>
  heals: (id: string) => Promise<unknown>
  /** How long after the beginning the first period is charged. */
  firstChargeMs: number
}

const act = (provider: string, action: string, rest: object) =>
  server.control('POST', 'act', { provider, action, ...rest })

const fixtures: readonly Fixture[] = [
  {
    provider: 'stripe',
    good: { token: 'pm_card_visa' },
    declines: (id) =>
      act('stripe', 'change_card', {
        subscription: id,
        card: 'pm_card_chargeCustomerFail',
      }),
    heals: (id) => act('stripe', 'change_card', { subscription: id, card: 'pm_card_visa' }),
    firstChargeMs: 0,
  },
  {
    provider: 'mercadopago',
    good: { token: 'tok_apro', brand: 'visa' },
    declines: (id) => act('mercadopago', 'change_card', { subscription: id, holder: 'FUND' }),
    heals: (id) => act('mercadopago', 'change_card', { subscription: id, holder: 'APRO' }),
    firstChargeMs: hourMs,
  },
]

async function saveMethod(provider: Fixture['provider']): Promise<string> {
  const { customer } = monthly
  const token = fixtures.find((one) => one.provider === provider)?.good.token
  const body = { tenant_id: tenantId, provider, customer, token }
  const saved = await server.api.call<{ id: string; status: string }>('POST', '/payments/methods', body)
  assert.equal(saved.body.status, 'active', JSON.stringify(saved.body))
  return saved.body.id
}

const loseAnswer = (provider: string, fault: string, times = 1) =>
  server.control('POST', 'payment-faults', { provider, fault, operation: 'subscription', times })

const paidOf = ({ charges }: SubscriptionStory) =>
  charges.filter(({ status, amount }) => status === 'paid' && amount > 0)

/** The next period has come, and the provider had some hours to charge it. */
async function passPeriod(id: string): Promise<void> {
  await subscriber.passPeriod(id)
  await server.passTime(2 * hourMs)
}

for (const { provider, good, declines, heals, firstChargeMs } of fixtures) {
  async function begin(body: object = {}): Promise<SubscriptionStory> {
    const { id } = await subscriber.create({ provider, ...good, ...body })
    if (firstChargeMs > 0) await server.passTime(firstChargeMs + 60_000)
    return subscriber.until(id, (one) => paidOf(one).length === 1 && one.status === 'active')
  }

  describe(`${provider}: subscriptions`, () => {
    test('it begins, and what the provider charges is a payment that can be refunded', async () => {
      const subscription = await begin({ reference: 'PLAN-7' })
      assert.deepEqual([subscription.renewed_by, subscription.failure], ['provider', null])
      await subscriber.told(subscription.id, ['created', 'activated'])
      const [charge] = paidOf(subscription)
      const payment = await server.until(charge?.payment_id ?? '', ({ status }) => status === 'confirmed')
      assert.deepEqual(
        [payment.amount, payment.subscription_id, payment.reference],
        [9_990, subscription.id, 'PLAN-7'],
      )
      const told = await server.eventsOf(payment.id, ['payment.created', 'payment.confirmed'])
      assert.deepEqual(
        told
          .filter(({ event }) => event.startsWith('payment.'))
          .map(({ event }) => event)
          .toSorted(),
        ['payment.confirmed', 'payment.created'],
      )
      const refund = await server.api.call<{ status: string }>('POST', `/payments/${payment.id}/refunds`, {})
      assert.deepEqual([refund.status, refund.body.status], [201, 'succeeded'])
      assert.equal(await subscriber.countCharged(provider, subscription.id), 1)
    })

    test('each further period is told once, with its own payment', async () => {
      const { id } = await begin()
      for (const period of [2, 3]) {
        await passPeriod(id)
        await subscriber.waitFor(id, (one) => paidOf(one).length === period)
      }
      await subscriber.told(id, ['created', 'activated', 'renewed', 'renewed'])
      const paid = paidOf(await subscriber.read(id))
      assert.equal(new Set(paid.map(({ payment_id: payment }) => payment)).size, 3)
      assert.equal(await subscriber.countCharged(provider, id), 3)
      assert.equal((await subscriber.payments(id)).length, 3)
    })

    test('a renewal that is declined is past due, and healed by a retry that succeeds', async () => {
      const { id, provider_subscription_id: own } = await begin()
      await declines(own ?? '')
      await passPeriod(id)
      const late = await subscriber.waitFor(id, ({ status }) => status === 'past_due')
      assert.ok(late.failure, JSON.stringify(late))
      await heals(own ?? '')
      await server.passTime(4 * dayMs)
      const healed = await subscriber.waitFor(id, ({ status }) => status === 'active')
      assert.deepEqual([healed.failure, paidOf(healed).length], [null, 2])
      const told = await subscriber.told(id, [
        'created',
        'activated',
        'payment_failed',
        'past_due',
        'renewed',
      ])
      const failed = told.find(({ event }) => event === 'subscription.payment_failed')
      assert.ok(failed?.['failure'])
    })

    test('a customer subscribes on the provider’s page and comes back', async () => {
      const subscription = await subscriber.create({
        provider,
        return_url: 'https://shop.example.com/plans?step=2',
      })
      assert.equal(subscription.status, 'pending')
      const url = new URL(subscription.next_action?.url ?? '')
      const page = [...url.searchParams.values()].at(-1) ?? url.pathname.split('/').at(-1)
      const back = await visitPage(server, provider, page, 'approve')
      assert.deepEqual(
        [back?.searchParams.get('step'), back?.searchParams.get('subscription_id')],
        ['2', subscription.id],
      )
      const active = await subscriber.waitFor(subscription.id, ({ status }) => status === 'active')
      assert.equal(active.next_action, null)
      await server.passTime(firstChargeMs)
      await subscriber.waitFor(subscription.id, (one) => paidOf(one).length === 1)
      await subscriber.told(subscription.id, ['created', 'activated'])
    })

    test('it is paused, resumed, changed and canceled', async () => {
      const { id } = await begin()
      assert.equal((await subscriber.change(id, { paused: true })).status, 'paused')
      assert.equal((await subscriber.change(id, { paused: true })).status, 'paused')
      assert.equal((await subscriber.change(id, { paused: false })).status, 'active')
      assert.equal((await subscriber.change(id, { amount: 12_990 })).amount, 12_990)
      await passPeriod(id)
      const renewed = await subscriber.waitFor(id, (one) => paidOf(one).length === 2)
      assert.equal(paidOf(renewed)[0]?.amount, 12_990)
      const canceled = await subscriber.cancel(id)
      assert.equal(canceled.status, 'canceled')
      assert.ok(canceled.ended_at)
      assert.equal((await subscriber.cancel(id)).status, 'canceled')
      await server.passTime(31 * dayMs)
      assert.equal(await subscriber.countCharged(provider, id), 2)
      const changes = ['paused', 'resumed', 'updated', 'renewed', 'canceled']
      await subscriber.told(id, ['created', 'activated', ...changes])
    })

    test('a trial costs nothing until it ends', async () => {
      const { id, status, trial_end: end } = await subscriber.create({ provider, ...good, trial_days: 10 })
      assert.equal(status, 'trialing')
      assert.ok(end)
      await server.passTime(10 * dayMs + 3 * hourMs)
      const active = await subscriber.waitFor(
        id,
        (one) => paidOf(one).length === 1 && one.status === 'active',
      )
      assert.equal(await subscriber.countCharged(provider, active.id), 1)
      await subscriber.told(id, ['created', 'activated', 'renewed'])
    })

    test('a creation whose answer was lost is found, not repeated', async () => {
      await loseAnswer(provider, 'hang_after')
      const { id } = await subscriber.create({ provider, ...good })
      await subscriber.waitFor(id, ({ status }) => status === 'active')
      await server.passTime(firstChargeMs)
      await subscriber.waitFor(id, (one) => paidOf(one).length === 1)
      await passPeriod(id)
      await subscriber.waitFor(id, (one) => paidOf(one).length === 2)
      assert.equal(await subscriber.countCharged(provider, id), 2)
      await subscriber.told(id, ['created', 'activated', 'renewed'])
    })

    test('a cancel whose answer was lost is found', async () => {
      const { id } = await begin()
      await loseAnswer(provider, 'hang_after')
      await subscriber.cancel(id)
      await subscriber.waitFor(id, (one) => one.status === 'canceled' && one.under_way === null)
      const { rules } = await server.control('GET', 'payment-faults')
      assert.deepEqual(rules, [])
      await subscriber.told(id, ['created', 'activated', 'canceled'])
    })
  })
}

describe('saved methods', () => {
  test('Stripe begins with one, and goes on with another', async () => {
    const [first, second] = [await saveMethod('stripe'), await saveMethod('stripe')]
    const { id, method_id: methodId } = await subscriber.create({ method_id: first })
    assert.equal(methodId, first)
    const changed = await subscriber.change(id, { method_id: second })
    assert.equal(changed.method_id, second)
    await subscriber.waitFor(id, (one) => paidOf(one).length === 1)
    await passPeriod(id)
    await subscriber.waitFor(id, (one) => paidOf(one).length === 2)
    assert.equal(await subscriber.countCharged('stripe', id), 2)
    await subscriber.told(id, ['created', 'activated', 'updated', 'renewed'])
  })

  test('MercadoPago begins none with a saved card: it wants the security code, which nobody may keep', async () => {
    const saved = await subscriber.create({ method_id: await saveMethod('mercadopago') })
    assert.deepEqual([saved.status, saved.failure?.code], ['expired', 'invalid_data'])
    await subscriber.told(saved.id, ['created', 'expired'])
  })
})

describe('creations that never arrived', () => {
  test('are made after all, once, where the provider keeps keys', async () => {
    await loseAnswer('stripe', 'hang', 2)
    const { id, status } = await subscriber.create({ provider: 'stripe', token: 'pm_card_visa' })
    assert.equal(status, 'unknown')
    const made = await subscriber.waitFor(id, (one) => one.status === 'active' && one.under_way === null)
    assert.equal(await subscriber.countCharged('stripe', made.id), 1)
    await subscriber.told(id, ['created', 'activated'])
  })

  test('are given up after a quarter of an hour where it does not, and never repeated', async () => {
    await loseAnswer('mercadopago', 'hang')
    const { id, status } = await subscriber.create({ provider: 'mercadopago', token: 'tok_apro' })
    assert.equal(status, 'unknown')
    await server.passTime(13 * 60_000)
    const ended = await subscriber.waitFor(id, ({ under_way: underWay }) => underWay === null)
    assert.deepEqual([ended.status, ended.failure?.code], ['expired', 'not_processed'])
    const ageMs = new Date(ended.ended_at ?? 0).getTime() - new Date(ended.created_at).getTime()
    assert.ok(ageMs >= 15 * 60_000, `${ageMs} ms`)
    await server.passTime(31 * dayMs)
    assert.equal(await subscriber.countCharged('mercadopago', id), 0)
    await subscriber.told(id, ['created', 'expired'])
  })

  test('are canceled at the provider when they turn up after all', async () => {
    const account = `accounts/mercadopago/${accounts.mercadopago}`
    await server.control('PUT', account, { search_lag_ms: 40 * 60_000 })
    await loseAnswer('mercadopago', 'hang_after')
    const { id } = await subscriber.create({ provider: 'mercadopago', token: 'tok_apro' })
    await server.passTime(13 * 60_000)
    await subscriber.waitFor(id, ({ status }) => status === 'expired')
    await server.passTime(20 * 60_000)
    const ended = await subscriber.waitFor(id, (one) => one.provider_subscription_id !== null)
    await server.control('PUT', account, { search_lag_ms: 0 })
    assert.equal(ended.status, 'expired')
    await subscriber.waitFor(id, ({ under_way: underWay }) => underWay === null)
    await server.passTime(31 * dayMs)
    assert.equal(await subscriber.countCharged('mercadopago', id), 0)
    await subscriber.told(id, ['created', 'expired'])
  })

  test('a card that is refused begins nothing, and says why', async () => {
    const refused = await subscriber.create({ provider: 'mercadopago', token: 'tok_fund' })
    assert.equal(refused.status, 'expired')
    assert.ok(refused.failure?.message_es)
    await subscriber.told(refused.id, ['created', 'expired'])
  })
})
