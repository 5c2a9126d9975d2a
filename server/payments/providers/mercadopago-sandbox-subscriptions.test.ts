import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createId } from '#core/ids.ts'
import { mercadopago } from './mercadopago.ts'
import type { MethodChoice, SubscriptionCommand, SubscriptionRef } from './provider.ts'
import { createSubscriptionCommand, errorOf, snapshotOf } from './testing/mercadopago.ts'
import { cardOf, startMercadopagoSandbox, startSubscriptionRef } from './testing/mercadopago-sandbox.ts'

const world = await startMercadopagoSandbox({ after })
const { subscriptions } = mercadopago
assert.ok(subscriptions)
const hourMs = 3600_000
const dayMs = 24 * hourMs

function write(changes: Partial<SubscriptionCommand> = {}): SubscriptionCommand {
  const subscriptionId = createId('sub', world.context().now())
  return createSubscriptionCommand({ subscriptionId, key: subscriptionId, ...changes })
}

async function subscribe(method?: MethodChoice, changes: Partial<SubscriptionCommand> = {}) {
  const command = write({ ...(method && { method }), ...changes })
  const context = world.context()
  const snapshot = snapshotOf(await subscriptions?.create(command, context))
  const ref = startSubscriptionRef(command.subscriptionId, context.now(), snapshot.providerSubscriptionId)
  return { ref, snapshot }
}

async function read(ref: SubscriptionRef) {
  const snapshot = snapshotOf(await subscriptions?.read(ref, world.context()))
  assert.ok(snapshot)
  return snapshot
}

async function readCharges(ref: SubscriptionRef) {
  const { status, charges } = await read(ref)
  return [status, ...charges.map((one) => `${one.status} ${one.attempt}${one.isFirst ? ' first' : ''}`)]
}

test('a subscription on MercadoPago’s page begins with its customer, and is charged by the month', async () => {
  const { ref, snapshot } = await subscribe()
  assert.equal(snapshot.status, 'pending')
  assert.match(snapshot.action?.url ?? '', /^http/)
  await world.choose(ref.providerSubscriptionId, 'approve')
  const begun = await read(ref)
  assert.equal(begun.status, 'active')
  assert.ok(
    begun.charges.every(({ status }) => status === 'scheduled'),
    'authorized is not charged',
  )
  assert.deepEqual(world.listBooked(ref.subscriptionId), [])
  await world.wait(2 * hourMs)
  const first = await read(ref)
  const paid = first.charges.filter(({ status }) => status === 'paid')
  assert.deepEqual([paid.length, paid[0]?.isFirst, paid[0]?.amount], [1, true, 9_990])
  assert.ok(first.currentPeriodStart && first.currentPeriodEnd)
  const days = (first.currentPeriodEnd.getTime() - first.currentPeriodStart.getTime()) / dayMs
  assert.ok(days > 27 && days < 32, String(days))
  await world.wait(31 * dayMs)
  const renewed = (await read(ref)).charges.filter(({ status }) => status === 'paid')
  assert.deepEqual(
    renewed.map(({ isFirst }) => isFirst),
    [true, false],
  )
  assert.deepEqual(world.listBooked(ref.subscriptionId), ['charge 9990', 'charge 9990'])
})

test('a charge that does not pass is past due until another card pays for it', async () => {
  const { ref } = await subscribe(cardOf('tok_apro_fund'))
  await world.wait(2 * hourMs)
  assert.deepEqual(await readCharges(ref), ['past_due', 'retrying 1 first'])
  const { failure, charges } = await read(ref)
  assert.deepEqual([failure?.code, charges[0]?.failure?.code], ['insufficient_funds', 'insufficient_funds'])
  const change = { method: cardOf('tok_apro'), key: 'key_method' }
  snapshotOf(await subscriptions?.update(ref, change, world.context()))
  await world.wait(3 * dayMs)
  const [status, charge] = await readCharges(ref)
  assert.equal(status, 'active')
  assert.match(charge ?? '', /^paid [2-5] first$/)
})

test('a charge that never passes fails for good', async () => {
  const { ref } = await subscribe(cardOf('tok_apro_fund'))
  await world.wait(11 * dayMs)
  assert.deepEqual(await readCharges(ref), ['past_due', 'failed 5 first'])
  assert.deepEqual(world.listBooked(ref.subscriptionId), [])
})

test('it is changed, paused, resumed and ended', async () => {
  const { ref } = await subscribe(cardOf('tok_apro'))
  const update = async (change: object) =>
    snapshotOf(await subscriptions?.update(ref, { key: createId('sub'), ...change }, world.context()))
  assert.equal((await update({ amount: 12_000 })).amount, 12_000)
  assert.equal((await update({ paused: true })).status, 'paused')
  const refused = await subscriptions?.update(ref, { amount: 1_000, key: 'k' }, world.context())
  assert.equal(errorOf(refused).outcome, 'refused')
  assert.equal((await update({ paused: false })).status, 'active')
  await world.wait(32 * dayMs)
  assert.equal((await read(ref)).status, 'active')
  assert.deepEqual(new Set(world.listBooked(ref.subscriptionId)), new Set(['charge 12000']))
  const ended = snapshotOf(await subscriptions?.cancel(ref, 'key_end', world.context()))
  assert.equal(ended.status, 'canceled')
  const booked = world.listBooked(ref.subscriptionId).length
  await world.wait(64 * dayMs)
  assert.equal((await read(ref)).status, 'canceled')
  assert.equal(world.listBooked(ref.subscriptionId).length, booked)
})

test('a time for free is not charged', async () => {
  const trialEnd = new Date(world.context().now().getTime() + 14 * dayMs)
  const { ref, snapshot } = await subscribe(cardOf('tok_apro'), { trialEnd })
  assert.deepEqual([snapshot.status, snapshot.trialEnd?.getTime()], ['trialing', trialEnd.getTime()])
  await world.wait(13 * dayMs)
  assert.equal((await read(ref)).status, 'trialing')
  assert.deepEqual(world.listBooked(ref.subscriptionId), [])
  await world.wait(2 * dayMs)
  assert.equal((await read(ref)).status, 'active')
  assert.deepEqual(world.listBooked(ref.subscriptionId), ['charge 9990'])
})

test('a card that would be declined makes none', async () => {
  const command = write({ method: cardOf('tok_fund') })
  const { outcome, message } = errorOf(await subscriptions?.create(command, world.context()))
  assert.equal(outcome, 'refused')
  assert.match(message, /CC_VAL_433/)
})

test('a call without an answer: it is found by our reference, or certainly not there', async () => {
  for (const fault of ['reset_after', 'reset']) {
    const command = write({ method: cardOf('tok_apro') })
    const createdAt = world.context().now()
    await world.play(fault, 'subscription', command.subscriptionId)
    const lost = errorOf(await subscriptions?.create(command, world.context()))
    assert.deepEqual([lost.outcome, lost.retry], ['unknown', 'never'])
    const ref = startSubscriptionRef(command.subscriptionId, createdAt)
    if (fault === 'reset_after') {
      assert.equal((await read(ref)).status, 'active')
      continue
    }
    assert.equal(errorOf(await subscriptions?.read(ref, world.context())).outcome, 'unknown')
    await world.wait(11 * 60_000)
    assert.equal(snapshotOf(await subscriptions?.read(ref, world.context())), undefined)
  }
})

test('its webhooks lead to it, and those of its payments too', async () => {
  const { ref } = await subscribe(cardOf('tok_apro'))
  await world.wait(2 * hourMs)
  const [charge] = (await read(ref)).charges.filter(({ status }) => status === 'paid')
  assert.ok(charge)
  const context = world.context()
  const ids = [
    ['subscription_preapproval', ref.providerSubscriptionId],
    ['subscription_authorized_payment', charge.providerChargeId],
    ['payment', charge.providerPaymentId],
  ]
  for (const [topic, id] of ids) {
    const webhook = await world.receive(
      ({ query }) => query.get('type') === topic && query.get('data.id') === id,
    )
    assert.deepEqual(mercadopago.verify(webhook, context.credentials, context.now()), { ok: true })
    const [notice] = mercadopago.parse(webhook, context.now())
    assert.ok(notice)
    const located = notice.about === 'resource' ? await mercadopago.locate?.(notice, context) : undefined
    const [first] = located?.outcome === 'done' ? located.notices : [notice]
    assert.ok(first?.about === 'subscription', topic)
    assert.equal(first.providerSubscriptionId, ref.providerSubscriptionId)
  }
})
