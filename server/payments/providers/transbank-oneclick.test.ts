import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createId } from '#core/ids.ts'
import { transbank } from './transbank.ts'
import { createChargeCommand, returnUrl } from './testing/transbank.ts'
import { type AccountName, follow, minuteMs, startRef } from './testing/transbank-sandbox.ts'
import { startTransbankSandbox, unpack } from './testing/transbank-sandbox.ts'

const world = await startTransbankSandbox({ after })

const shortMs = 400
const customer = { email: 'ana@example.com' }

/** A customer on the way to save a card; `finish` plays what happens on the page, and the return. */
async function startSaving(name: AccountName) {
  const method = { methodId: createId('pmt', world.context(name).now()), customer }
  const command = { ...method, tenantId: 't_1', returnUrl, key: 'k' }
  const { snapshot } = unpack(await transbank.saveMethod?.(command, world.context(name)))
  const { providerInscriptionId } = snapshot
  assert.ok(providerInscriptionId)
  const finish = async (choice: string, afterMs = 0) => {
    const input = { provider: 'transbank', id: providerInscriptionId, choice }
    const { next } = await world.control('POST', 'pay', input)
    await world.wait(afterMs)
    const { fields } = next as { fields: Record<string, string> }
    const ref = { ...method, providerInscriptionId }
    const parameters = new URLSearchParams(fields)
    return unpack(await transbank.finishMethod?.(ref, parameters, world.context(name))).snapshot
  }
  return { method, finish }
}

async function saveCard(name: AccountName): Promise<Readonly<Record<string, string>>> {
  const { finish } = await startSaving(name)
  const { token } = await finish('approve')
  assert.ok(token)
  return token
}

function prepareCharge(name: AccountName, token: Readonly<Record<string, string>>, timeoutMs?: number) {
  const context = world.context(name, timeoutMs)
  const paymentId = createId('pay', context.now())
  const capture = name.startsWith('deferred') ? 'manual' : 'automatic'
  const command = createChargeCommand({ paymentId, method: { kind: 'saved', token, customer: {} }, capture })
  const ref = startRef(paymentId, 'direct', capture, context.now())
  return { ref, run: async () => transbank.createPayment?.(command, context) }
}

test('a card is saved, charged, given back in part, and removed', async () => {
  const { method, finish } = await startSaving('oneclick')
  const saved = await finish('approve')
  assert.deepEqual([saved.status, saved.summary?.brand, saved.summary?.last4], ['active', 'visa', '6623'])
  assert.ok(saved.token)
  const { ref, run } = prepareCharge('oneclick', saved.token)
  const paid = follow(ref, unpack(await run()).snapshot)
  assert.equal(paid.captured, 10_000)
  const context = world.context('oneclick')
  unpack(await transbank.refund(paid, { refundId: 'rfd_1', amount: 2_500, isFull: false, key: 'k' }, context))
  const seen = await world.read(paid, 'oneclick')
  assert.deepEqual([seen.status, seen.captured, seen.refunded], ['confirmed', 10_000, 2_500])
  for (const _ of [1, 2]) {
    assert.deepEqual(await transbank.removeMethod?.(saved.token, method, context), { outcome: 'done' })
  }
  const gone = prepareCharge('oneclick', saved.token)
  const { snapshot } = unpack(await gone.run())
  assert.deepEqual([snapshot.status, snapshot.failure?.code], ['failed', 'method_unavailable'])
})

test('an inscription that was aborted, declined, late or slept through saves nothing', async () => {
  for (const [choice, afterMs, status] of [
    ['abort', 0, 'canceled'],
    ['decline', 0, 'failed'],
    ['time_out', 0, 'failed'],
    ['approve', 2 * minuteMs, 'failed'],
  ] as const) {
    const { finish } = await startSaving('oneclick')
    const ended = await finish(choice, afterMs)
    assert.deepEqual([ended.status, ended.token], [status, undefined], choice)
  }
})

test('what is held is captured in part, or let go', async () => {
  const token = await saveCard('deferredOneclick')
  const context = world.context('deferredOneclick')
  const first = prepareCharge('deferredOneclick', token)
  const held = follow(first.ref, unpack(await first.run()).snapshot)
  assert.equal((await world.read(held, 'deferredOneclick')).status, 'authorized')
  assert.equal(unpack(await transbank.capture?.(held, 6_000, 'k', context)).snapshot.captured, 6_000)
  assert.equal((await world.read(held, 'deferredOneclick')).captured, 6_000)
  const second = prepareCharge('deferredOneclick', token)
  const other = follow(second.ref, unpack(await second.run()).snapshot)
  assert.equal(unpack(await transbank.cancel?.(other, 'k', context)).snapshot.status, 'canceled')
  assert.equal((await world.read(other, 'deferredOneclick')).status, 'canceled')
})

test('a charge whose answer was lost is found by its order, and one that never was is not', async () => {
  const token = await saveCard('oneclick')
  for (const fault of ['hang_after', 'reset_after', 'server_error_after']) {
    const { ref, run } = prepareCharge('oneclick', token, shortMs)
    await world.play(fault, 'create', ref.paymentId)
    assert.equal((await run())?.outcome, 'unknown', fault)
    assert.equal((await world.read(ref, 'oneclick')).status, 'confirmed')
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 10000'])
  }
  for (const fault of ['hang', 'reset', 'server_error']) {
    const { ref, run } = prepareCharge('oneclick', token, shortMs)
    await world.play(fault, 'create', ref.paymentId)
    assert.equal((await run())?.outcome, 'unknown', fault)
    assert.equal((await transbank.read(ref, world.context('oneclick'))).outcome, 'unknown')
    await world.wait(2 * minuteMs)
    assert.equal(unpack(await transbank.read(ref, world.context('oneclick'))).snapshot, undefined)
    assert.deepEqual(world.listBooked(ref.paymentId), [])
  }
})

test('a decline, a 429 and refused credentials are no money', async () => {
  const token = await saveCard('oneclick')
  const { tbk_user } = token
  await world.control('POST', 'act', {
    provider: 'transbank',
    action: 'decline_next',
    tbk_user,
    response_code: -4,
  })
  const declined = prepareCharge('oneclick', token)
  assert.equal(unpack(await declined.run()).snapshot.failure?.code, 'card_declined')
  for (const [fault, kind] of [
    ['rate_limited', 'rate_limited'],
    ['unauthorized', 'auth'],
  ] as const) {
    const { ref, run } = prepareCharge('oneclick', token)
    await world.play(fault, 'create', ref.paymentId)
    const outcome = await run()
    assert.equal(outcome?.outcome === 'refused' && outcome.error.kind, kind)
    assert.deepEqual(world.listBooked(ref.paymentId), [])
  }
})
