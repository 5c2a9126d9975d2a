import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { stripe } from './stripe.ts'
import {
  checkoutRef,
  createCharge,
  createdAt,
  createIntent,
  createRef,
  createRefund,
} from './testing/stripe.ts'
import { createSession, expectDone, expectNotDone, expectSnapshot, listOf, now } from './testing/stripe.ts'
import { paymentId, startDesk } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context

describe('a payment is found by our own id', () => {
  const lost = (changes = {}) => createRef({ providerPaymentId: undefined, ...changes })
  const other = (id: string) => createIntent({ id, metadata: { pipecore_payment_id: 'pay_other' } })
  const seconds = (date: Date) => Math.floor(date.getTime() / 1000)
  const crowd = Array.from({ length: 10 }, (_, index) => ({ body: listOf([other(`pi_x${index}`)], true) }))

  test('in the list of the time it was made at, on whichever page', async () => {
    desk.answers({
      'GET /v1/payment_intents': [
        { body: listOf([other('pi_8')], true) },
        { body: listOf([createIntent()]) },
      ],
      'GET /v1/payment_intents/pi_1': createIntent(),
    })
    assert.equal(expectSnapshot(await stripe.read(lost(), context())).providerPaymentId, 'pi_1')
    const [first, second, third] = desk.taken()
    assert.deepEqual(first?.fields, [
      ['created[gte]', String(seconds(createdAt) - 300)],
      ['created[lte]', String(seconds(createdAt) + 25 * 3600)],
      ['limit', '100'],
    ])
    assert.deepEqual(second?.fields.at(-1), ['starting_after', 'pi_8'])
    assert.equal(third?.call, 'GET /v1/payment_intents/pi_1')
  })

  test('not in the whole list: Stripe certainly has nothing', async () => {
    desk.answers({ 'GET /v1/payment_intents': listOf([other('pi_8')]) })
    assert.deepEqual(await stripe.read(lost(), context()), { outcome: 'done', snapshot: undefined })
  })

  test('by the search, where the list is too long', async () => {
    desk.answers({
      'GET /v1/payment_intents': crowd,
      'GET /v1/payment_intents/search': listOf([createIntent()]),
      'GET /v1/payment_intents/pi_1': createIntent(),
    })
    assert.equal(expectSnapshot(await stripe.read(lost(), context())).providerPaymentId, 'pi_1')
    const calls = desk.taken()
    assert.equal(calls.filter(({ call }) => call === 'GET /v1/payment_intents').length, 10)
    const search = calls.find(({ call }) => call.endsWith('/search'))
    assert.deepEqual(search?.fields.at(-1), ['query', `metadata['pipecore_payment_id']:'${paymentId}'`])
  })

  test('a search that finds nothing is believed only when it had the time to', async () => {
    const plan = {
      'GET /v1/payment_intents': crowd,
      'GET /v1/payment_intents/search': listOf([other('pi_8')]),
    }
    desk.answers(plan)
    const young = expectNotDone(await stripe.read(lost(), context()))
    assert.deepEqual([young.outcome, young.retry], ['unknown', 'backoff'])
    desk.answers(plan)
    const old = lost({ createdAt: new Date(now.getTime() - 61 * 60_000) })
    assert.deepEqual(await stripe.read(old, context()), { outcome: 'done', snapshot: undefined })
  })

  test('a list that can not be read says nothing', async () => {
    desk.answers({ 'GET /v1/payment_intents': [{ status: 502, body: '<html>Bad Gateway</html>' }] })
    assert.equal(expectNotDone(await stripe.read(lost(), context())).outcome, 'unknown')
  })
})

describe('what is read', () => {
  test('404 by id: Stripe certainly has nothing', async () => {
    desk.answers({})
    assert.deepEqual(await stripe.read(createRef(), context()), { outcome: 'done', snapshot: undefined })
    assert.deepEqual(await stripe.read(checkoutRef(), context()), { outcome: 'done', snapshot: undefined })
  })

  test('an answer about another payment never becomes a state of this one', async () => {
    desk.answers({
      'GET /v1/payment_intents/pi_1': createIntent({ metadata: { pipecore_payment_id: 'pay_other' } }),
    })
    const { outcome, code } = expectNotDone(await stripe.read(createRef(), context()))
    assert.deepEqual([outcome, code], ['unknown', 'mismatch'])
  })

  test('an id that is none goes into no path', async () => {
    desk.answers({})
    for (const odd of ['../accounts', 'pi_1/cancel', 'pi 1', '', 'pi_1?expand=x', `pi_${'1'.repeat(300)}`]) {
      const ref = createRef({ providerPaymentId: odd })
      for (const outcome of [
        await stripe.read(ref, context()),
        await stripe.capture?.(ref, 1, 'k', context()),
        await stripe.cancel?.(ref, 'k', context()),
      ]) {
        assert.equal(expectNotDone(outcome).outcome, 'refused', odd)
      }
    }
    assert.deepEqual(desk.taken(), [])
  })
})

describe('acting on a page', () => {
  const paid = createSession({ status: 'complete', payment_intent: createIntent() })
  const command = { refundId: 'rfd_1', amount: 1_000, isFull: false, key: 'k' }

  test('its payment is looked up where we do not know it yet', async () => {
    desk.answers({ 'GET /v1/checkout/sessions/cs_test_1': paid, 'POST /v1/refunds': createRefund() })
    const { refund } = expectDone(await stripe.refund(checkoutRef(), command, context()))
    assert.equal(refund.providerRefundId, 're_1')
    assert.deepEqual(desk.taken()[1]?.fields.at(-1), ['payment_intent', 'pi_1'])
  })

  test('a page without a payment has nothing to give back: it is read', async () => {
    desk.answers({ 'GET /v1/checkout/sessions/cs_test_1': createSession() })
    const { outcome, kind } = expectNotDone(await stripe.refund(checkoutRef(), command, context()))
    assert.deepEqual([outcome, kind], ['refused', 'state'])
  })

  test('what was held there is let go', async () => {
    const held = createIntent({ status: 'requires_capture', amount_received: 0 })
    desk.answers({
      'GET /v1/checkout/sessions/cs_test_1': createSession({ status: 'complete', payment_intent: held }),
      'POST /v1/payment_intents/pi_1/cancel': createIntent({ status: 'canceled', amount_received: 0 }),
    })
    assert.equal(expectDone(await stripe.cancel?.(checkoutRef(), 'k', context())).snapshot.status, 'canceled')
  })

  test('a page that was paid in the meantime can not be closed: it is read', async () => {
    const message = 'Only Checkout Sessions with a status in ["open"] can be expired.'
    desk.answers({
      'GET /v1/checkout/sessions/cs_test_1': createSession(),
      'POST /v1/checkout/sessions/cs_test_1/expire': [
        { status: 400, body: { error: { type: 'invalid_request_error', message } } },
      ],
    })
    const { outcome, kind } = expectNotDone(await stripe.cancel?.(checkoutRef(), 'k', context()))
    assert.deepEqual([outcome, kind], ['refused', 'state'])
  })
})

describe('a customer who comes back', () => {
  const read = (ref: ReturnType<typeof createRef>, query: string) =>
    stripe.readReturn?.(ref, new URLSearchParams(query))

  test('makes us read, and nothing the browser says decides', () => {
    assert.deepEqual(read(createRef(), 'payment_intent=pi_1&redirect_status=succeeded'), { next: 'read' })
    assert.deepEqual(read(createRef(), 'payment_intent=pi_1&redirect_status=failed'), { next: 'read' })
    assert.deepEqual(read(checkoutRef(), 'session_id=cs_test_1'), { next: 'read' })
    assert.deepEqual(read(checkoutRef(), ''), { next: 'read' })
  })

  test('may have given up: the page is still open, so that ends nothing', () => {
    assert.deepEqual(read(checkoutRef(), 'pipecore_canceled=1'), { next: 'read' })
  })

  test('with the ids of another payment is refused', () => {
    assert.equal(read(createRef(), 'payment_intent=pi_2')?.next, 'refuse')
    assert.equal(read(checkoutRef(), 'session_id=cs_test_1&session_id=cs_test_2')?.next, 'refuse')
  })
})

describe('for reconciliation', () => {
  const since = new Date('2026-11-21T12:00:00Z')
  const untaken = { status: 'requires_payment_method', amount_received: 0, latest_charge: null }
  const open = createIntent({ ...untaken, id: 'pi_open' })
  const refused = { ...untaken, last_payment_error: { type: 'card_error', code: 'card_declined' } }

  test('what was made, refunded or disputed since is listed, each page oldest first', async () => {
    const foreign = createIntent({ id: 'pi_2', metadata: {} })
    const old = createIntent({
      id: 'pi_old',
      latest_charge: createCharge({ refunds: listOf([createRefund()]) }),
    })
    const newest = [createIntent({ id: 'pi_4' }), open, createIntent({ ...refused, id: 'pi_bad' })]
    desk.answers({
      'GET /v1/payment_intents': [
        { body: listOf([...newest, createIntent({ id: 'pi_3' })], true) },
        { body: listOf([foreign]) },
      ],
      'GET /v1/refunds': listOf([
        createRefund({ id: 're_2', payment_intent: old }),
        createRefund({ payment_intent: old }),
      ]),
      'GET /v1/disputes': listOf([{ id: 'dp_1', payment_intent: null }]),
    })
    const found: unknown[] = []
    let cursor: string | undefined
    do {
      const page = expectDone(await stripe.list?.(since, cursor, context()))
      for (const { paymentId: ours, snapshot } of page.payments) {
        found.push([ours, snapshot.providerPaymentId, snapshot.refunded])
      }
      cursor = page.next
    } while (cursor !== undefined)
    assert.deepEqual(found, [
      [paymentId, 'pi_3', 0],
      [paymentId, 'pi_4', 0],
      [undefined, 'pi_2', 0],
      [paymentId, 'pi_old', 1_000],
    ])
    const calls = desk.taken()
    assert.deepEqual(
      calls.map(({ call }) => call),
      ['GET /v1/payment_intents', 'GET /v1/payment_intents', 'GET /v1/refunds', 'GET /v1/disputes'],
    )
    const from = ['created[gte]', String(since.getTime() / 1000)]
    assert.ok(calls.every(({ fields }) => fields.some((field) => field.join() === from.join())))
  })
})
