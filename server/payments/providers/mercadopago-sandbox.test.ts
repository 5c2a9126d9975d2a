import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { Notice, PaymentRef } from './provider.ts'
import { createCheckoutCommand, errorOf, snapshotOf } from './testing/mercadopago.ts'
import {
  cardOf,
  createSandboxPayment,
  follow,
  startMercadopagoSandbox,
} from './testing/mercadopago-sandbox.ts'
import { startRef } from './testing/mercadopago-sandbox.ts'

const world = await startMercadopagoSandbox({ after })
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

async function refund(ref: PaymentRef, amount: number, more: { isFull?: boolean; key?: string } = {}) {
  const wish = { refundId: 'rfd_1', amount, isFull: false, key: `rfd_${ref.paymentId}_${amount}`, ...more }
  return mercadopago.refund(ref, wish, world.context())
}

describe('a direct payment', () => {
  test('is charged, given back in parts, and read as it is', async () => {
    const ref = await world.charge()
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990'])
    const first = await refund(ref, 990)
    assert.ok(first.outcome === 'done')
    assert.equal(first.refund.status, 'succeeded')
    const seen = follow(ref, await world.read(ref))
    assert.equal(seen.refunded, 990)
    const rest = await refund(seen, 12_000, { isFull: true })
    assert.ok(rest.outcome === 'done')
    const all = await world.read(ref)
    assert.deepEqual([all.status, all.captured, all.refunded], ['confirmed', 12_990, 12_990])
    const ids = all.refunds?.map(({ providerRefundId }) => providerRefundId)
    assert.deepEqual(ids, [first.refund.providerRefundId, rest.refund.providerRefundId])
    assert.equal(errorOf(await refund(seen, 1)).kind, 'state')
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990', 'refund 990', 'refund 12000'])
  })

  test('is given back whole in one', async () => {
    const ref = await world.charge()
    const outcome = await refund(ref, 12_990, { isFull: true })
    assert.ok(outcome.outcome === 'done')
    assert.equal(outcome.refund.amount, 12_990)
    assert.equal((await world.read(ref)).refunded, 12_990)
  })

  test('that is declined took no money, and says why', async () => {
    const words: Array<[token: string, code: string]> = [
      ['tok_fund', 'insufficient_funds'],
      ['tok_secu', 'invalid_security_code'],
      ['tok_expi', 'invalid_expiry'],
      ['tok_call', 'call_issuer'],
      ['tok_dupl', 'duplicate'],
      ['tok_blac', 'fraud_suspected'],
      ['tok_ctna', 'card_declined'],
    ]
    for (const [token, code] of words) {
      const command = createSandboxPayment(world.context().now(), { method: cardOf(token) })
      const snapshot = snapshotOf(await mercadopago.createPayment?.(command, world.context()))
      assert.deepEqual([snapshot.status, snapshot.failure?.code, snapshot.captured], ['failed', code, 0])
      assert.deepEqual(world.listBooked(command.paymentId), [])
    }
  })

  test('is held, then taken in part, in whole or not at all', async () => {
    const held = await world.charge({ capture: 'manual' })
    assert.equal((await world.read(held)).status, 'authorized')
    const part = snapshotOf(await mercadopago.capture?.(held, 5_000, 'cap_1', world.context()))
    assert.deepEqual([part.status, part.captured], ['confirmed', 5_000])
    assert.equal(errorOf(await mercadopago.capture?.(held, 5_000, 'cap_2', world.context())).kind, 'state')
    const whole = await world.charge({ capture: 'manual' })
    const taken = snapshotOf(await mercadopago.capture?.(whole, 12_990, 'cap_3', world.context()))
    assert.equal(taken.captured, 12_990)
    const dropped = await world.charge({ capture: 'manual' })
    const canceled = snapshotOf(await mercadopago.cancel?.(dropped, 'can_1', world.context()))
    assert.deepEqual([canceled.status, canceled.captured], ['canceled', 0])
    assert.equal(errorOf(await mercadopago.cancel?.(whole, 'can_2', world.context())).kind, 'state')
  })

  test('may wait for the bank’s page, and for MercadoPago', async () => {
    const method = cardOf('tok_chal')
    const command = createSandboxPayment(world.context().now(), { method })
    const context = world.context({ threeDSecure: 'optional' })
    const asked = snapshotOf(await mercadopago.createPayment?.(command, context))
    assert.deepEqual([asked.status, asked.action?.method], ['requires_action', 'POST'])
    assert.ok(asked.action?.fields.creq)
    const ref = follow(startRef(command, context.now()), asked)
    await world.choose(ref.providerPaymentId, 'approve')
    assert.equal((await world.read(ref)).status, 'confirmed')
    const review = await world.charge({ method: cardOf('tok_cont') })
    assert.equal((await world.read(review)).status, 'processing')
    await world.act('settle', { payment: review.providerPaymentId, status: 'approved' })
    assert.equal((await world.read(review)).captured, 12_990)
  })

  test('shows what was done at MercadoPago without us', async () => {
    const ref = await world.charge()
    await world.act('refund', { payment: ref.providerPaymentId, amount: 990 })
    const seen = await world.read(ref)
    assert.deepEqual([seen.refunded, seen.refunds?.length], [990, 1])
    for (const [status, dispute] of [
      ['open', 'open'],
      ['lost', 'lost'],
    ]) {
      const disputed = await world.charge()
      await world.act('dispute', { payment: disputed.providerPaymentId, status: 'open' })
      if (status !== 'open') await world.act('dispute', { payment: disputed.providerPaymentId, status })
      assert.equal((await world.read(disputed)).dispute?.status, dispute)
    }
  })

  test('in another currency than the account’s is refused, and nothing is booked', async () => {
    const command = createSandboxPayment(world.context().now(), { currency: 'USD', amount: 5_000 })
    assert.equal(errorOf(await mercadopago.createPayment?.(command, world.context())).kind, 'config')
    assert.deepEqual(world.listBooked(command.paymentId), [])
  })
})

describe('a call without an answer', () => {
  const lost = ['hang_after', 'reset_after', 'server_error_after']
  const never = ['hang', 'reset', 'server_error', 'transient']

  for (const fault of [...lost, ...never]) {
    test(`${fault}: the payment is found or is certainly not there, and the same key charges once`, async () => {
      const command = createSandboxPayment(world.context().now())
      const ref = startRef(command, world.context().now())
      await world.play(fault, 'create', ref.paymentId)
      const outcome = await mercadopago.createPayment?.(command, world.context({}, 400))
      assert.equal(errorOf(outcome).outcome, 'unknown')
      if (lost.includes(fault)) {
        assert.equal((await world.read(ref)).status, 'confirmed')
      } else {
        assert.equal(errorOf(await mercadopago.read(ref, world.context())).outcome, 'unknown')
        await world.wait(3 * minuteMs)
        assert.equal(snapshotOf(await mercadopago.read(ref, world.context())), undefined)
      }
      const again = snapshotOf(await mercadopago.createPayment?.(command, world.context()))
      assert.equal(again.status, 'confirmed')
      assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990'])
    })
  }

  test('a refund is found in the list, and the same key gives back once, even answered with nothing', async () => {
    for (const replay of ['same', 'empty']) {
      await world.setAccount({ refund_replay: replay })
      const ref = await world.charge()
      await world.play('reset_after', 'refund', ref.paymentId)
      assert.equal(errorOf(await refund(ref, 990)).outcome, 'unknown')
      assert.deepEqual(
        (await world.read(ref)).refunds?.map(({ amount }) => amount),
        [990],
      )
      const again = await refund(ref, 990)
      assert.equal(again.outcome, replay === 'same' ? 'done' : 'unknown')
      assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990', 'refund 990'])
    }
    await world.setAccount({ refund_replay: 'same' })
  })

  test('a search that is behind never says that there is nothing', async () => {
    await world.setAccount({ search_lag_ms: minuteMs })
    const ref = await world.charge()
    const { providerPaymentId: _, ...unseen } = ref
    assert.equal(errorOf(await mercadopago.read(unseen, world.context())).outcome, 'unknown')
    await world.wait(minuteMs)
    assert.equal((await world.read(unseen)).providerPaymentId, ref.providerPaymentId)
    await world.setAccount({ search_lag_ms: 0 })
  })

  test('a key with another body is no refusal, in either status', async () => {
    for (const conflict of [409, 400]) {
      await world.setAccount({ conflict_status: conflict })
      const command = createSandboxPayment(world.context().now())
      snapshotOf(await mercadopago.createPayment?.(command, world.context()))
      const other = { ...command, description: 'other' }
      assert.equal(errorOf(await mercadopago.createPayment?.(other, world.context())).outcome, 'unknown')
    }
  })

  test('what MercadoPago refuses in its own words is refused', async () => {
    for (const [fault, kind] of [
      ['rate_limited', 'rate_limited'],
      ['unauthorized', 'auth'],
    ] as const) {
      const command = createSandboxPayment(world.context().now())
      await world.play(fault, 'create', command.paymentId)
      const error = errorOf(await mercadopago.createPayment?.(command, world.context()))
      assert.deepEqual([error.outcome, error.kind], ['refused', kind])
      assert.deepEqual(world.listBooked(command.paymentId), [])
    }
  })

  test('a word that nobody knows is unknown, and read again it is known', async () => {
    const command = createSandboxPayment(world.context().now())
    await world.play('odd_status', 'create', command.paymentId)
    const odd = snapshotOf(await mercadopago.createPayment?.(command, world.context()))
    assert.deepEqual([odd.status, odd.captured], ['unknown', 0])
    const ref = follow(startRef(command, world.context().now()), odd)
    assert.equal((await world.read(ref)).status, 'confirmed')
  })
})

describe('a page', () => {
  test('is paid after a card that did not pass', async () => {
    const ref = await world.openPage()
    assert.equal((await world.read(ref)).status, 'requires_action')
    await world.choose(ref.providerCheckoutId, 'decline', { reason: 'CALL' })
    const declined = await world.read(ref)
    assert.deepEqual([declined.status, declined.failure?.code], ['requires_action', 'call_issuer'])
    const parameters = await world.choose(ref.providerCheckoutId, 'approve')
    assert.deepEqual(mercadopago.readReturn?.(ref, parameters), { next: 'read' })
    const paid = await world.read(ref)
    assert.deepEqual([paid.status, paid.captured, paid.failure], ['confirmed', 12_990, undefined])
    assert.equal(paid.providerPaymentId, parameters.get('payment_id'))
  })

  test('that somebody left is still open, and its return is one of it', async () => {
    const ref = await world.openPage()
    const parameters = await world.choose(ref.providerCheckoutId, 'abort')
    assert.deepEqual(mercadopago.readReturn?.(ref, parameters), { next: 'read' })
    assert.equal((await world.read(ref)).status, 'requires_action')
    const other = await world.openPage()
    assert.equal(mercadopago.readReturn?.(other, parameters).next, 'refuse')
  })

  test('that is paid twice says so, and stays with the first', async () => {
    const ref = await world.openPage()
    await world.choose(ref.providerCheckoutId, 'approve')
    const first = await world.read(ref)
    await world.choose(ref.providerCheckoutId, 'approve', { again: true })
    const twice = await world.read(follow(ref, first))
    assert.equal(twice.providerPaymentId, first.providerPaymentId)
    assert.match(twice.details?.paid_twice ?? '', /^\d+$/)
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990', 'charge 12990'])
  })

  test('with a voucher waits for the cash, and expires with it', async () => {
    const ref = await world.openPage()
    await world.choose(ref.providerCheckoutId, 'pending')
    const waiting = await world.read(ref)
    assert.equal(waiting.status, 'pending')
    await world.act('settle', { payment: waiting.providerPaymentId, status: 'approved' })
    assert.equal((await world.read(ref)).status, 'confirmed')
  })

  test('that is canceled can not be paid any more, not even by what was begun', async () => {
    const ref = await world.openPage()
    await world.choose(ref.providerCheckoutId, 'pending')
    const canceled = snapshotOf(await mercadopago.cancel?.(ref, 'can_1', world.context()))
    assert.equal(canceled.status, 'canceled')
    await world.wait(5 * minuteMs)
    assert.equal((await world.read(ref)).status, 'canceled')
    const empty = await world.openPage()
    const closed = snapshotOf(await mercadopago.cancel?.(empty, 'can_2', world.context()))
    assert.equal(closed.status, 'canceled')
    await world.choose(empty.providerCheckoutId, 'approve')
    await world.wait(5 * minuteMs)
    assert.equal((await world.read(empty)).status, 'expired')
    assert.deepEqual(world.listBooked(empty.paymentId), [])
  })

  test('ends with its time', async () => {
    const { now } = world.context()
    const expiresAt = new Date(now().getTime() + 30 * minuteMs)
    const paymentId = createSandboxPayment(now()).paymentId
    const command = createCheckoutCommand({ paymentId, key: paymentId, expiresAt })
    const snapshot = snapshotOf(await mercadopago.createCheckout(command, world.context()))
    const ref = follow({ ...startRef(command, now()), flow: 'checkout' }, snapshot)
    await world.wait(29 * minuteMs)
    assert.equal((await world.read(ref)).status, 'requires_action')
    await world.wait(4 * minuteMs)
    assert.equal((await world.read(ref)).status, 'expired')
  })
})

describe('a saved card', () => {
  test('is saved once per address, charged, and removed', async () => {
    const command = {
      methodId: 'pmt_1',
      tenantId: 't_1',
      customer: { email: 'saved@example.com', name: 'Ana Pérez' },
      token: 'tok_apro',
      returnUrl: 'https://pipe.example.com/r',
      key: 'pmt_1',
    }
    const saved = snapshotOf(await mercadopago.saveMethod?.(command, world.context()))
    const second = snapshotOf(await mercadopago.saveMethod?.({ ...command, key: 'pmt_2' }, world.context()))
    assert.deepEqual([saved.status, saved.summary?.brand], ['active', 'visa'])
    assert.equal(saved.token?.customer, second.token?.customer)
    const token = saved.token ?? {}
    const ref = await world.charge({
      method: { kind: 'saved', token, customer: {} },
      customer: {},
      offSession: true,
    })
    assert.deepEqual(world.listBooked(ref.paymentId), ['charge 12990'])
    const method = { methodId: 'pmt_1', customer: {} }
    for (const _time of [1, 2]) {
      const removed = await mercadopago.removeMethod?.(token, method, world.context())
      assert.equal(removed?.outcome, 'done')
    }
    const gone = createSandboxPayment(world.context().now(), {
      method: { kind: 'saved', token, customer: {} },
    })
    assert.equal(errorOf(await mercadopago.createPayment?.(gone, world.context())).outcome, 'refused')
  })
})

describe('webhooks', () => {
  async function readNotices(of: { id: string; topic: string }): Promise<readonly Notice[]> {
    const webhook = await world.receive(
      ({ query }) => query.get('data.id')?.toLowerCase() === of.id && query.get('type') === of.topic,
    )
    const context = world.context()
    assert.deepEqual(mercadopago.verify(webhook, context.credentials, context.now()), { ok: true })
    assert.equal(mercadopago.owns(webhook, context.credentials, 't_1'), true)
    const [notice] = mercadopago.parse(webhook, context.now())
    assert.ok(notice)
    if (notice.about !== 'resource') return [notice]
    const located = await mercadopago.locate?.(notice, context)
    assert.ok(located?.outcome === 'done')
    return located.notices
  }

  for (const unit of ['ms', 's']) {
    for (const idCase of ['same', 'lowered']) {
      test(`in ${unit}, with the ${idCase} id, pass and lead to the payment`, async () => {
        await world.setAccount({ ts_unit: unit, id_case: idCase })
        const ref = await world.charge()
        const [notice] = await readNotices({ id: ref.providerPaymentId ?? '', topic: 'payment' })
        assert.ok(notice?.about === 'payment')
        assert.deepEqual([notice.providerPaymentId, notice.paymentId], [ref.providerPaymentId, ref.paymentId])
      })
    }
  }

  test('about a chargeback lead to its payment', async () => {
    await world.setAccount({ ts_unit: 'ms', id_case: 'same' })
    const ref = await world.charge()
    const { id } = await world.act('dispute', { payment: ref.providerPaymentId, status: 'open' })
    const [notice] = await readNotices({ id: String(id), topic: 'topic_chargebacks_wh' })
    assert.ok(notice?.about === 'payment')
    assert.equal(notice.paymentId, ref.paymentId)
  })
})

describe('the list', () => {
  test('tells every payment that changed, page by page, and the doctor knows the account', async () => {
    await world.wait(dayMs)
    const since = world.context().now()
    const refs: PaymentRef[] = []
    for (let count = 0; count < 53; count += 1) {
      await world.wait(1_000)
      refs.push(await world.charge())
    }
    const seen = new Set<string | undefined>()
    let cursor: string | undefined
    let pages = 0
    do {
      const outcome = await mercadopago.list?.(since, cursor, world.context())
      assert.ok(outcome?.outcome === 'done')
      for (const { paymentId } of outcome.payments) seen.add(paymentId)
      cursor = outcome.next
      pages += 1
    } while (cursor !== undefined)
    assert.ok(refs.every(({ paymentId }) => seen.has(paymentId)))
    assert.ok(pages >= 2 && pages < 5, String(pages))
    const { ok, notes } = await mercadopago.check(world.context())
    assert.equal(ok, true)
    assert.match(notes.join(' '), /MLC.*test credentials/)
  })
})
