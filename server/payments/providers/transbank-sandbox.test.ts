import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { transbank } from './transbank.ts'
import {
  accountNames,
  type AccountName,
  dayMs,
  follow,
  minuteMs,
  startTransbankSandbox,
  unpack,
} from './testing/transbank-sandbox.ts'

const world = await startTransbankSandbox({ after })
const refundKey = { key: 'k', isFull: false }

describe('Webpay Plus', () => {
  for (const name of ['plain', 'mall'] as const) {
    test(`${name}: paid, given back in parts, and read as it is`, async () => {
      const ref = await world.buy(name)
      const context = world.context(name)
      const amounts = [2_500, 7_500]
      let refunded = 0
      for (const amount of amounts) {
        const { refund } = unpack(
          await transbank.refund(ref, { refundId: `rfd_${amount}`, amount, ...refundKey }, context),
        )
        refunded += amount
        assert.deepEqual([refund.amount, refund.status, refund.kind], [amount, 'succeeded', 'refund'])
        const seen = await world.read(ref, name)
        assert.deepEqual([seen.status, seen.captured, seen.refunded], ['confirmed', 10_000, refunded])
      }
      const more = await transbank.refund(ref, { refundId: 'rfd_3', amount: 1, ...refundKey }, context)
      assert.equal(more.outcome === 'refused' && more.error.kind, 'state')
      assert.deepEqual(world.listBooked(ref.paymentId), ['charge 10000', 'refund 2500', 'refund 7500'])
    })
  }

  test('all of it within three hours is a reversal, later a refund', async () => {
    const whole = { refundId: 'rfd_1', amount: 10_000, isFull: true, key: 'k' }
    const early = await world.buy('plain')
    const late = await world.buy('plain')
    const reversal = unpack(await transbank.refund(early, whole, world.context('plain')))
    assert.equal(reversal.refund.kind, 'reversal')
    await world.wait(181 * minuteMs)
    assert.equal(unpack(await transbank.refund(late, whole, world.context('plain'))).refund.kind, 'refund')
    for (const ref of [early, late]) {
      const seen = await world.read(ref, 'plain')
      assert.deepEqual([seen.status, seen.captured, seen.refunded], ['confirmed', 10_000, 10_000])
    }
  })

  for (const name of ['deferred', 'deferredMall'] as const) {
    test(`${name}: held, captured in part, given back in part`, async () => {
      const held = await world.buy(name)
      const context = world.context(name)
      const ref = follow(held, unpack(await transbank.capture?.(held, 6_000, 'k', context)).snapshot)
      assert.equal(ref.captured, 6_000)
      assert.equal((await world.read(held, name)).captured, 6_000)
      const again = await transbank.capture?.(held, 6_000, 'k', context)
      assert.equal(again?.outcome === 'refused' && again.error.kind, 'state')
      unpack(await transbank.refund(ref, { refundId: 'rfd_1', amount: 1_000, ...refundKey }, context))
      const seen = await world.read(ref, name)
      assert.deepEqual([seen.status, seen.captured, seen.refunded], ['confirmed', 6_000, 1_000])
      assert.deepEqual(world.listBooked(ref.paymentId), ['authorization 10000', 'charge 6000', 'refund 1000'])
    })

    test(`${name}: held and let go`, async () => {
      const held = await world.buy(name)
      const { snapshot } = unpack(await transbank.cancel?.(held, 'k', world.context(name)))
      assert.equal(snapshot.status, 'canceled')
      const seen = await world.read(held, name)
      assert.deepEqual([seen.status, seen.captured, seen.refunded], ['canceled', 0, 0])
      assert.deepEqual(world.listBooked(held.paymentId), ['authorization 10000', 'void 10000'])
    })
  }

  test('declined: the commit says why', async () => {
    const ref = await world.openCheckout('plain')
    assert.deepEqual(await world.pay(ref, 'decline', { reason: -5 }), { next: 'commit' })
    const { snapshot } = unpack(await transbank.commit?.(ref, world.context('plain')))
    assert.deepEqual([snapshot.status, snapshot.failure?.code], ['failed', 'fraud_suspected'])
    assert.equal((await world.read(ref, 'plain')).status, 'failed')
    assert.deepEqual(world.listBooked(ref.paymentId), [])
  })

  const returns = [
    ['abort', { next: 'read', otherwise: 'canceled' }, 'requires_action', 'canceled'],
    ['time_out', { next: 'read', otherwise: 'expired' }, 'requires_action', 'expired'],
    ['broken_form', { next: 'read', otherwise: 'failed' }, 'requires_action', 'canceled'],
    ['close_tab', { next: 'read' }, 'requires_action', undefined],
    ['abort_bank', { next: 'commit' }, 'failed', 'failed'],
  ] as const
  for (const [choice, reading, seen, committed] of returns) {
    test(`${choice}: no money, whatever is asked`, async () => {
      for (const name of ['plain', 'mall'] as const) {
        const ref = await world.openCheckout(name)
        assert.deepEqual(await world.pay(ref, choice), reading)
        assert.equal((await world.read(ref, name)).status, seen)
        const outcome = await transbank.commit?.(ref, world.context(name))
        if (committed) assert.equal(unpack(outcome).snapshot.status, committed)
        else assert.equal(outcome?.outcome === 'refused' && outcome.error.kind, 'state')
        assert.deepEqual(world.listBooked(ref.paymentId), [])
      }
    })
  }

  test('a form that nobody finished is expired, and stays unpaid', async () => {
    const ref = await world.openCheckout('plain')
    await world.wait(16 * minuteMs)
    assert.equal((await world.read(ref, 'plain')).status, 'expired')
    const { snapshot } = unpack(await transbank.commit?.(ref, world.context('plain')))
    assert.equal(snapshot.status, 'expired')
  })

  test('a second commit is refused by its state, and the payment read is the first one', async () => {
    const ref = await world.buy('plain')
    const again = await transbank.commit?.(ref, world.context('plain'))
    assert.equal(again?.outcome === 'refused' && again.error.kind, 'state')
    assert.equal((await world.read(ref, 'plain')).status, 'confirmed')
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 10000'])
  })

  test('a token nobody made is unknown to Transbank, and a state older than a week is not told', async () => {
    const ref = await world.buy('plain')
    await world.wait(2 * minuteMs)
    const strange = { ...ref, providerCheckoutId: randomBytes(32).toString('hex') }
    assert.deepEqual(await transbank.read(strange, world.context('plain')), {
      outcome: 'done',
      snapshot: undefined,
    })
    await world.wait(8 * dayMs)
    assert.notEqual((await transbank.read(ref, world.context('plain'))).outcome, 'done')
  })
})

describe('lost answers', () => {
  test('a commit, a refund, a capture and a cancel that had their effect are seen when read', async () => {
    const short = (name: AccountName) => world.context(name, 400)
    const open = await world.openCheckout('plain')
    await world.pay(open, 'approve')
    await world.play('hang_after', 'commit', open.paymentId)
    assert.equal((await transbank.commit?.(open, short('plain')))?.outcome, 'unknown')
    const paid = follow(open, await world.read(open, 'plain'))
    assert.equal(paid.captured, 10_000)

    await world.play('reset_after', 'refund', paid.paymentId)
    const refund = { refundId: 'rfd_1', amount: 2_500, ...refundKey }
    assert.equal((await transbank.refund(paid, refund, short('plain'))).outcome, 'unknown')
    assert.equal((await world.read(paid, 'plain')).refunded, 2_500)

    const held = await world.buy('deferred')
    await world.play('server_error_after', 'capture', held.paymentId)
    assert.equal((await transbank.capture?.(held, 6_000, 'k', short('deferred')))?.outcome, 'unknown')
    assert.equal((await world.read(held, 'deferred')).captured, 6_000)

    const other = await world.buy('deferred')
    await world.play('reset_after', 'cancel', other.paymentId)
    assert.equal((await transbank.cancel?.(other, 'k', short('deferred')))?.outcome, 'unknown')
    assert.equal((await world.read(other, 'deferred')).status, 'canceled')
  })

  test('a word that nobody knows is unknown, and never money', async () => {
    const ref = await world.openCheckout('plain')
    await world.pay(ref, 'approve')
    await world.play('odd_status', 'commit', ref.paymentId)
    const { snapshot } = unpack(await transbank.commit?.(ref, world.context('plain')))
    assert.deepEqual([snapshot.status, snapshot.captured], ['unknown', 0])
    assert.equal((await world.read(ref, 'plain')).status, 'confirmed')
  })
})

test('the check knows the test credentials, and a key that is wrong', async () => {
  for (const name of accountNames) {
    const { ok, notes } = await transbank.check(world.context(name))
    assert.equal(ok, true, notes.join(' '))
  }
  const wrong = world.context('oneclick')
  const credentials = { ...wrong.credentials, apiKey: '0badc0de'.repeat(8) }
  assert.equal((await transbank.check({ ...wrong, credentials })).ok, false)
})
