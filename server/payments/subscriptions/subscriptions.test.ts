import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type PaymentsServer, startPaymentsServer, tenantId } from '../testing/server.ts'
import {
  createSubscriber,
  dayMs,
  hourMs,
  monthly,
  saveOneclickCard,
  type SavedCard,
  type Subscriber,
} from '../testing/subscriptions.ts'
import { lookAtSubscription } from './look.ts'
import type { SubscriptionStory } from './schema.ts'

let server: PaymentsServer
let subscriber: Subscriber
const stops: Array<() => Promise<void>> = []

before(async () => {
  const keep = { after: (stop: () => Promise<void>) => void stops.push(stop) }
  server = await startPaymentsServer(keep, { PIPECORE_PROVIDER_TIMEOUT_MS: '1000' })
  subscriber = createSubscriber(server)
})

test.afterEach(() => subscriber.cancelAll())

test.after(async () => {
  for (const stop of stops.toReversed()) await stop()
})

async function subscribe(body: object = {}): Promise<SubscriptionStory & { card: SavedCard }> {
  const card = await saveOneclickCard(server)
  const { id } = await subscriber.create({ method_id: card.methodId, ...body })
  return { ...(await subscriber.read(id)), card }
}

const decline = (card: SavedCard, rest: object = {}) =>
  server.control('POST', 'act', {
    provider: 'transbank',
    action: 'decline_next',
    tbk_user: card.tbkUser,
    times: null,
    ...rest,
  })

/** The next period has come and its charge ended. */
async function passPeriod(id: string): Promise<SubscriptionStory> {
  const { charges: known } = await subscriber.read(id)
  await subscriber.passPeriod(id)
  return subscriber.until(id, ({ charges }) => charges.length > known.length && isSettled(charges))
}

function isSettled(charges: SubscriptionStory['charges']): boolean {
  return charges.every(({ status }) => status !== 'scheduled')
}

describe('subscriptions that PipeCore charges itself', () => {
  test('the first period is charged at once, as a payment that can be refunded', async () => {
    const subscription = await subscribe({ reference: 'PLAN-1', metadata: { plan: 'gold' } })
    assert.deepEqual([subscription.status, subscription.renewed_by], ['active', 'pipecore'])
    assert.equal(subscription.period_start, subscription.created_at)
    const [charge] = subscription.charges
    assert.deepEqual([charge?.status, charge?.amount, charge?.attempt], ['paid', 9_990, 1])
    const [payment] = await subscriber.payments(subscription.id)
    assert.ok(payment)
    assert.deepEqual(
      [payment.id, payment.status, payment.amount, payment.reference, payment.subscription_id],
      [charge?.payment_id, 'confirmed', 9_990, 'PLAN-1', subscription.id],
    )
    const events = await subscriber.told(subscription.id, ['created', 'activated'])
    const activated = events.find(({ event }) => event === 'subscription.activated')
    assert.deepEqual(
      [activated?.['payment_id'], activated?.['amount'], activated?.['reference'], activated?.['period_end']],
      [payment.id, 9_990, 'PLAN-1', subscription.period_end],
    )
    assert.deepEqual(activated?.['metadata'], { plan: 'gold' })
    const refund = await server.api.call<{ status: string }>('POST', `/payments/${payment.id}/refunds`, {})
    assert.deepEqual([refund.status, refund.body.status], [201, 'succeeded'])
  })

  test('twelve periods are renewed, each exactly once, however often it is looked at', async () => {
    const { id } = await subscribe()
    for (let period = 2; period <= 13; period += 1) await passPeriod(id)
    const wanted = Array.from({ length: 13 }, (_, index) => index + 1)
    const { charges, status } = await subscriber.read(id)
    assert.equal(status, 'active')
    assert.deepEqual(
      charges.toReversed().map(({ provider_charge_id: key, status: one }) => `${key} ${one}`),
      wanted.map((period) => `period ${period} attempt 1 paid`),
    )
    assert.equal(new Set(charges.map(({ payment_id: payment }) => payment)).size, 13)
    assert.equal(await subscriber.countCharged('transbank', id), 13)
    const scope = { tenantId, productId: 'tableflow', traceId: 'b'.repeat(32) }
    await Promise.all(
      Array.from({ length: 5 }, () => lookAtSubscription(server.server.context, scope, id, 'janitor')),
    )
    assert.equal((await subscriber.payments(id)).length, 13)
    const renewals = wanted.slice(1).map(() => 'renewed')
    const told = await subscriber.told(id, ['created', 'activated', ...renewals])
    assert.equal(new Set(told.slice(1).map(({ period_start: start }) => start)).size, 13)
  })

  test('a server that was away for three periods charges each of them once', async () => {
    const { id } = await subscribe({ interval: { every: 'week' } })
    await subscriber.passPeriod(id)
    await server.passTime(14 * dayMs)
    const { charges } = await subscriber.until(
      id,
      (one) => one.charges.length === 4 && isSettled(one.charges),
    )
    assert.deepEqual(new Set(charges.map(({ status }) => status)), new Set(['paid']))
    assert.equal(await subscriber.countCharged('transbank', id), 4)
  })

  test('looks at once charge once', async () => {
    const { id } = await subscribe()
    await subscriber.passPeriod(id)
    const scope = { tenantId, productId: 'tableflow', traceId: 'a'.repeat(32) }
    await Promise.all(
      Array.from({ length: 8 }, () => lookAtSubscription(server.server.context, scope, id, 'janitor')),
    )
    await subscriber.until(id, ({ charges }) => charges.length === 2 && isSettled(charges))
    assert.equal(await subscriber.countCharged('transbank', id), 2)
  })

  test('one Idempotency-Key is one subscription and one charge', async () => {
    const { methodId } = await saveOneclickCard(server)
    const headers = { 'idempotency-key': `subscribe-${methodId}` }
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => subscriber.create({ method_id: methodId }, headers)),
    )
    assert.equal(new Set(answers.map(({ id }) => id)).size, 1)
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set(['active']))
    assert.equal(await subscriber.countCharged('transbank', answers[0]?.id ?? ''), 1)
  })

  test('a card that declines the first charge begins nothing', async () => {
    const card = await saveOneclickCard(server)
    await decline(card)
    const subscription = await subscriber.create({ method_id: card.methodId })
    assert.deepEqual([subscription.status, subscription.failure?.code], ['expired', 'card_declined'])
    await subscriber.told(subscription.id, ['created', 'payment_failed', 'expired'])
    await server.passTime(40 * dayMs)
    assert.equal((await subscriber.payments(subscription.id)).length, 1)
  })
})

describe('dunning', () => {
  test('a declined renewal is tried after 1, 3, 5 and 7 days; then the subscription ends', async () => {
    const { id, card } = await subscribe()
    await decline(card)
    const late = await passPeriod(id)
    assert.deepEqual([late.status, late.failure?.code], ['past_due', 'card_declined'])
    for (const [attempt, days] of [1, 2, 2, 2].entries()) {
      const tries = () => subscriber.read(id).then(({ charges }) => charges.length)
      assert.equal(await tries(), attempt + 2)
      await server.passTime(days * dayMs - 2 * hourMs)
      await server.passTime(2 * hourMs + 60_000)
      await subscriber.until(id, ({ charges }) => charges.length === attempt + 3 && isSettled(charges))
    }
    const ended = await subscriber.until(id, ({ status }) => status === 'canceled')
    assert.ok(ended.ended_at)
    assert.equal(ended.charges.filter(({ status }) => status === 'paid').length, 1)
    const failures = Array.from({ length: 5 }, () => 'payment_failed')
    const told = await subscriber.told(id, ['created', 'activated', 'past_due', ...failures, 'canceled'])
    const tries = told.filter(({ event }) => event === 'subscription.payment_failed')
    assert.deepEqual(
      tries.map(({ attempt, next_attempt_at: next }) => [attempt, next !== null]),
      [1, 2, 3, 4, 5].map((attempt) => [attempt, attempt < 5]),
    )
    assert.equal(await subscriber.countCharged('transbank', id), 1)
  })

  test('a retry that succeeds makes it active, and the next period begins when it would have', async () => {
    const { id, card } = await subscribe()
    await decline(card, { times: 2 })
    const late = await passPeriod(id)
    assert.equal(late.status, 'past_due')
    await server.passTime(dayMs + hourMs)
    await subscriber.until(id, ({ charges }) => charges.length === 3 && isSettled(charges))
    await server.passTime(2 * dayMs + hourMs)
    const paid = await subscriber.until(id, ({ status }) => status === 'active')
    assert.deepEqual([paid.failure, paid.period_start], [null, late.period_end])
    const failed = ['payment_failed', 'past_due', 'payment_failed']
    await subscriber.told(id, ['created', 'activated', ...failed, 'renewed'])
    await passPeriod(id)
    assert.equal(await subscriber.countCharged('transbank', id), 3)
  })

  test('another method is tried at once, for the amount that is owed', async () => {
    const { id, card } = await subscribe()
    await decline(card)
    await passPeriod(id)
    const other = await saveOneclickCard(server)
    const changed = await subscriber.change(id, { method_id: other.methodId, amount: 12_990 })
    assert.deepEqual([changed.status, changed.method_id, changed.amount], ['active', other.methodId, 12_990])
    const [charge] = (await subscriber.read(id)).charges
    assert.deepEqual([charge?.status, charge?.amount, charge?.attempt], ['paid', 9_990, 2])
    const next = await passPeriod(id)
    assert.equal(next.charges[0]?.amount, 12_990)
  })

  test('a card with too many attempts is left alone, and the subscription ends after a week', async () => {
    const { id, card } = await subscribe()
    await decline(card, { response_code: -99 })
    const late = await passPeriod(id)
    assert.deepEqual([late.status, late.failure?.code], ['past_due', 'too_many_attempts'])
    await server.passTime(6 * dayMs)
    const scope = { tenantId, productId: 'tableflow', traceId: 'a'.repeat(32) }
    await lookAtSubscription(server.server.context, scope, id, 'janitor')
    assert.deepEqual((await subscriber.read(id)).charges.length, 2)
    await server.passTime(dayMs + hourMs)
    await subscriber.until(id, ({ status }) => status === 'canceled')
    assert.equal((await subscriber.payments(id)).length, 2)
  })

  test('a method that was removed is a failed try, and another one pays', async () => {
    const { id, card } = await subscribe()
    await server.api.call('DELETE', `/payments/methods/${card.methodId}`)
    const late = await passPeriod(id)
    assert.deepEqual([late.status, late.failure?.code], ['past_due', 'method_unavailable'])
    const other = await saveOneclickCard(server)
    const changed = await subscriber.change(id, { method_id: other.methodId })
    assert.equal(changed.status, 'active')
  })
})

describe('changes', () => {
  test('a trial costs nothing until it ends', async () => {
    const subscription = await subscribe({ trial_days: 14 })
    assert.deepEqual([subscription.status, subscription.charges.length], ['trialing', 0])
    assert.equal(subscription.period_end, subscription.trial_end)
    await subscriber.passPeriod(subscription.id)
    const active = await subscriber.until(subscription.id, ({ status }) => status === 'active')
    assert.equal(active.period_start, subscription.trial_end)
    assert.equal(await subscriber.countCharged('transbank', subscription.id), 1)
    await subscriber.told(subscription.id, ['created', 'activated', 'renewed'])
  })

  test('a new amount counts from the next period on, and is told', async () => {
    const { id } = await subscribe()
    await subscriber.change(id, { amount: 11_990 })
    assert.equal((await subscriber.read(id)).charges.length, 1)
    const { charges } = await passPeriod(id)
    assert.equal(charges[0]?.amount, 11_990)
    await subscriber.told(id, ['created', 'activated', 'updated', 'renewed'])
  })

  test('what passes while it is paused is never charged, and the date stays', async () => {
    const { id, period_end: end } = await subscribe()
    assert.equal((await subscriber.change(id, { paused: true })).status, 'paused')
    await subscriber.passPeriod(id)
    await server.passTime(40 * dayMs)
    const resumed = await subscriber.change(id, { paused: false })
    assert.equal(resumed.status, 'active')
    assert.equal((await subscriber.read(id)).charges.length, 1)
    assert.equal(resumed.period_end?.slice(10), end?.slice(10))
    assert.ok(new Date(resumed.period_end ?? 0) > server.server.context.now())
    await passPeriod(id)
    assert.equal(await subscriber.countCharged('transbank', id), 2)
    await subscriber.told(id, ['created', 'activated', 'paused', 'resumed', 'renewed'])
  })

  test('cancel_at_period_end lets the period that was paid run out, and charges no other', async () => {
    const { id } = await subscribe()
    assert.equal((await subscriber.change(id, { cancel_at_period_end: true })).status, 'active')
    await subscriber.passPeriod(id)
    await subscriber.until(id, ({ status }) => status === 'canceled')
    assert.equal(await subscriber.countCharged('transbank', id), 1)
    await subscriber.told(id, ['created', 'activated', 'updated', 'canceled'])
  })

  test('a canceled subscription charges no more, is canceled once, and can not be changed', async () => {
    const { id } = await subscribe()
    assert.equal((await subscriber.cancel(id)).status, 'canceled')
    assert.equal((await subscriber.cancel(id)).status, 'canceled')
    await server.passTime(40 * dayMs)
    assert.equal((await subscriber.payments(id)).length, 1)
    await subscriber.told(id, ['created', 'activated', 'canceled'])
    const refused = await server.refuse('PATCH', `/payments/subscriptions/${id}`, { paused: true })
    assert.deepEqual([refused.status, refused.code], [409, 'subscription_state'])
  })

  test('what a provider can not take is refused before anything is stored', async () => {
    const refuse = (body: object) =>
      server.refuse('POST', '/payments/subscriptions', { tenant_id: tenantId, ...monthly, ...body })
    const { methodId } = await saveOneclickCard(server)
    for (const body of [
      { provider: 'transbank' },
      { method_id: methodId, currency: 'EUR' },
      { method_id: methodId, interval: { every: 'month', count: 13 } },
      { method_id: methodId, token: 'tok_fake' },
      { provider: 'stripe' },
    ]) {
      const { status, code } = await refuse(body)
      assert.deepEqual([status, code], [422, 'request_invalid'], JSON.stringify(body))
    }
    const unknown = await server.refuse('GET', '/payments/subscriptions/sub_none')
    assert.deepEqual([unknown.status, unknown.code], [404, 'subscription_not_found'])
  })

  test('a list shows the newest first, filtered, page by page', async () => {
    const ids: string[] = []
    for (let index = 0; index < 3; index += 1) {
      ids.push((await subscribe({ customer: { reference: 'lister', email: 'l@example.com' } })).id)
    }
    const list = `/payments/subscriptions?tenant_id=${tenantId}&customer_reference=lister&limit=2`
    interface Page {
      data: Array<{ id: string }>
      next_cursor: string | null
    }
    const first = (await server.api.call<Page>('GET', list)).body
    const second = (await server.api.call<Page>('GET', `${list}&cursor=${first.next_cursor}`)).body
    assert.deepEqual(
      [...first.data, ...second.data].map(({ id }) => id),
      ids.toReversed(),
    )
    assert.equal(second.next_cursor, null)
  })
})
