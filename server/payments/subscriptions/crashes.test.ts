import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Context } from '#core/context.ts'
import { takeDuePayments } from '../queries.ts'
import { lookAtPayment } from '../recovery.ts'
import { type PaymentsServer, type ProviderId, startPaymentsServer, tenantId } from '../testing/server.ts'
import {
  createSubscriber,
  hourMs,
  monthly,
  saveOneclickCard,
  type Subscriber,
} from '../testing/subscriptions.ts'
import { lookAtSubscription } from './look.ts'
import { takeDueSubscriptions } from './queries.ts'
import { createSubscription } from './subscriptions.ts'
import { NewSubscription, type SubscriptionStory } from './schema.ts'

let server: PaymentsServer
let subscriber: Subscriber
const stops: Array<() => Promise<void>> = []
const scope = { tenantId, productId: 'tableflow', traceId: 'c'.repeat(32) }

/** Nothing runs here but what a test runs. */
before(async () => {
  const keep = { after: (stop: () => Promise<void>) => void stops.push(stop) }
  server = await startPaymentsServer(keep, { PIPECORE_PROVIDER_TIMEOUT_MS: '1000' }, 'api')
  subscriber = createSubscriber(server)
})

test.after(async () => {
  for (const stop of stops.toReversed()) await stop()
})

/** Steps are transactions and calls: the process is killed before one of them, and what it had done stays done. */
async function killBefore(
  step: number,
  work: (context: Context) => Promise<unknown>,
): Promise<'killed' | 'done'> {
  const { context } = server.server
  const { promise: death, resolve: die } = Promise.withResolvers<'killed'>()
  let steps = 0
  const live = async <Result>(run: () => Promise<Result>): Promise<Result> => {
    steps += 1
    if (steps < step) return run()
    die('killed')
    return new Promise<Result>(() => {})
  }
  const { database, providerOutbound } = context
  const mortal: Context = {
    ...context,
    database: { ...database, asTenant: (own, run) => live(() => database.asTenant(own, run)) },
    providerOutbound: { ...providerOutbound, request: (call) => live(() => providerOutbound.request(call)) },
  }
  return Promise.race([death, work(mortal).then(() => 'done' as const)])
}

/** What the next process finds due, until the subscription is as wanted. */
async function recover(id: string, fits: (one: SubscriptionStory) => boolean): Promise<SubscriptionStory> {
  const { context } = server.server
  for (let round = 0; ; round += 1) {
    const subscription = await subscriber.read(id)
    if (fits(subscription)) return subscription
    assert.ok(round < 60, `still ${JSON.stringify(subscription)}`)
    await server.passTime(5 * 60_000)
    const now = context.now()
    const later = new Date(now.getTime() + 60_000)
    const payments = await context.database.asSystem((db) => takeDuePayments(db, now, later, 100))
    for (const payment of payments) await lookAtPayment(context, scope, payment.id, 'janitor')
    const due = await context.database.asSystem((db) => takeDueSubscriptions(db, now, later, 100))
    for (const one of due) await lookAtSubscription(context, scope, one.id, 'janitor')
  }
}

const paidOf = ({ charges }: SubscriptionStory) => charges.filter(({ status }) => status === 'paid')

async function countTold(id: string, name: string): Promise<number> {
  const { body } = await server.api.call<{ data: Array<{ type: string }> }>(
    'GET',
    `/webhooks/events?entity=${id}&limit=200`,
  )
  return body.data.filter(({ type }) => type === `subscription.${name}`).length
}

test('killed anywhere in a renewal, the period is charged once and told once', async () => {
  for (let step = 1; ; step += 1) {
    const { methodId } = await saveOneclickCard(server)
    const { id } = await subscriber.create({ method_id: methodId })
    await subscriber.passPeriod(id)
    const ended = await killBefore(step, (context) => lookAtSubscription(context, scope, id, 'janitor'))
    // Whoever looks next may come at once, before anything is known of the call.
    await lookAtSubscription(server.server.context, scope, id, 'janitor')
    const renewed = await recover(id, (one) => paidOf(one).length === 2)
    assert.equal(renewed.status, 'active', `step ${step}`)
    assert.equal(await subscriber.countCharged('transbank', id), 2, `step ${step}`)
    assert.equal(await countTold(id, 'renewed'), 1, `step ${step}`)
    await subscriber.cancel(id)
    if (ended === 'done') {
      assert.ok(step > 4, `only ${step} steps`)
      return
    }
  }
})

test('killed anywhere in a beginning, the first period is charged once, or nothing was stored', async () => {
  for (let step = 1; ; step += 1) {
    const { methodId } = await saveOneclickCard(server)
    const input = NewSubscription.parse({
      tenant_id: tenantId,
      ...monthly,
      method_id: methodId,
      reference: methodId,
    })
    const ended = await killBefore(step, (context) => createSubscription(context, scope, input, undefined))
    const list = `/payments/subscriptions?tenant_id=${tenantId}&reference=${methodId}`
    const { body } = await server.api.call<{ data: Array<{ id: string }> }>('GET', list)
    const [stored] = body.data
    assert.equal(stored === undefined, step === 1)
    if (stored !== undefined) {
      await lookAtSubscription(server.server.context, scope, stored.id, 'janitor')
      const begun = await recover(stored.id, ({ status }) => status !== 'pending')
      const wasCharged = begun.status === 'active'
      assert.equal(await subscriber.countCharged('transbank', stored.id), wasCharged ? 1 : 0, `step ${step}`)
      assert.deepEqual(
        [await countTold(stored.id, 'activated'), await countTold(stored.id, 'expired')],
        wasCharged ? [1, 0] : [0, 1],
        `step ${step}`,
      )
      await subscriber.cancel(stored.id)
    }
    if (ended === 'done') {
      assert.ok(step > 4, `only ${step} steps`)
      return
    }
  }
})

test('a charge whose end nobody knows is waited for: its answer was lost, and it is found', async () => {
  const { methodId } = await saveOneclickCard(server)
  const { id } = await subscriber.create({ method_id: methodId })
  await subscriber.passPeriod(id)
  const fault = { provider: 'transbank', fault: 'hang_after', operation: 'create', times: 1 }
  await server.control('POST', 'payment-faults', fault)
  const { context } = server.server
  await lookAtSubscription(context, scope, id, 'janitor')
  await lookAtSubscription(context, scope, id, 'janitor')
  const waiting = await subscriber.read(id)
  assert.deepEqual([waiting.status, waiting.charges[0]?.status], ['active', 'scheduled'])
  assert.equal((await subscriber.payments(id)).at(-1)?.status, 'unknown')
  await recover(id, (one) => paidOf(one).length === 2)
  assert.equal(await subscriber.countCharged('transbank', id), 2)
  assert.equal((await subscriber.payments(id)).length, 2)
})

test('a charge that never arrived is no decline: it is made again in an hour', async () => {
  const { methodId } = await saveOneclickCard(server)
  const { id } = await subscriber.create({ method_id: methodId })
  await subscriber.passPeriod(id)
  const fault = { provider: 'transbank', fault: 'hang', operation: 'create', times: 1 }
  await server.control('POST', 'payment-faults', fault)
  await lookAtSubscription(server.server.context, scope, id, 'janitor')
  const renewed = await recover(id, (one) => paidOf(one).length === 2)
  assert.deepEqual(
    renewed.charges.map(({ status, attempt, failure }) => [status, attempt, failure?.code]),
    [
      ['paid', 2, undefined],
      ['retrying', 1, 'not_processed'],
      ['paid', 1, undefined],
    ],
  )
  assert.equal(await countTold(id, 'past_due'), 0)
  assert.equal(await subscriber.countCharged('transbank', id), 2)
})

test('what a provider charged is found without its webhooks, and told once', async () => {
  for (const fields of [
    { provider: 'stripe', token: 'pm_card_visa' },
    { provider: 'mercadopago', token: 'tok_apro', brand: 'visa' },
  ]) {
    const { id } = await subscriber.create(fields)
    await recover(id, (one) => paidOf(one).length === 1)
    await subscriber.passPeriod(id)
    const renewed = await recover(id, (one) => paidOf(one).length === 2)
    const payments = await subscriber.payments(id)
    assert.deepEqual(
      payments.map(({ id: payment, status }) => [payment, status]),
      paidOf(renewed)
        .toReversed()
        .map(({ payment_id: payment }) => [payment, 'confirmed']),
    )
    assert.deepEqual([await countTold(id, 'activated'), await countTold(id, 'renewed')], [1, 1])
    await subscriber.cancel(id)
  }
})

test('a reading that crossed with a change does not undo it', async () => {
  const { id } = await subscriber.create({ provider: 'stripe', token: 'pm_card_visa' })
  const { context } = server.server
  const { providerOutbound } = context
  let isPaused = false
  const slow: Context = {
    ...context,
    providerOutbound: {
      ...providerOutbound,
      request: async (call) => {
        const answer = await providerOutbound.request(call)
        if (!isPaused) {
          isPaused = true
          await subscriber.change(id, { paused: true })
        }
        return answer
      },
    },
  }
  const seen = await lookAtSubscription(slow, scope, id, 'webhook')
  assert.equal(seen?.status, 'paused')
  assert.deepEqual([await countTold(id, 'paused'), await countTold(id, 'resumed')], [1, 0])
})

test('killed anywhere while a provider is asked to begin, it holds at most one, and we know of it', async () => {
  for (const [provider, token] of [
    ['stripe', 'pm_card_visa'],
    ['mercadopago', 'tok_apro'],
  ] as const) {
    for (let step = 1; ; step += 1) {
      const reference = `${provider}-${step}`
      const input = NewSubscription.parse({ tenant_id: tenantId, ...monthly, provider, token, reference })
      const ended = await killBefore(step, (context) => createSubscription(context, scope, input, undefined))
      const list = `/payments/subscriptions?tenant_id=${tenantId}&reference=${reference}`
      const { body } = await server.api.call<{ data: Array<{ id: string }> }>('GET', list)
      const [stored] = body.data
      assert.equal(stored === undefined, step === 1)
      if (stored !== undefined) await agrees(provider, stored.id, `${provider} step ${step}`)
      if (ended === 'done') break
    }
  }
})

/** What the books say after a while must be what the subscription says. */
async function agrees(provider: ProviderId, id: string, when: string): Promise<void> {
  const known = await recover(
    id,
    ({ status, under_way: underWay }) => status !== 'pending' && underWay === null,
  )
  await server.passTime(2 * hourMs)
  const isActive = known.status === 'active'
  if (isActive) await recover(id, (one) => paidOf(one).length === 1)
  assert.equal(await subscriber.countCharged(provider, id), isActive ? 1 : 0, when)
  assert.ok(isActive || known.status === 'expired', `${when}: ${known.status}`)
  await subscriber.cancel(id)
}
