import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TransactionDetail, WebpayPlus } from 'transbank-sdk'
import {
  charged,
  DEFERRED,
  HOUR_MS,
  MALL,
  optionsFor,
  PLAIN,
  refusal,
  RETURN_URL,
  startTransbank,
} from './test-transbank.ts'
import type { Answer } from './test-transbank.ts'

test('all of it within three hours is reversed, later it is nullified, after 90 days nothing', async (t) => {
  const { webpay, buy, advance, totalsOf } = await startTransbank(t)
  const early = await buy()
  await advance(3 * HOUR_MS - 60_000)
  assert.deepEqual(await webpay.refund(early.token, 10_000), { type: 'REVERSED' })
  assert.equal(((await webpay.status(early.token)) as Answer)['status'], 'REVERSED')
  assert.equal(
    await refusal(webpay.refund(early.token, 10_000)),
    '422 Transaction already refunded or reversed (310)',
  )
  const late = await buy({ card: '4051884239937763' })
  await advance(3 * HOUR_MS + 60_000)
  const {
    authorization_code: code,
    authorization_date: date,
    ...rest
  } = (await webpay.refund(late.token, 10_000)) as Answer
  assert.deepEqual(rest, { type: 'NULLIFIED', nullified_amount: 10_000, balance: 0, response_code: 0 })
  assert.match(`${String(code)} ${String(date)}`, /^\d{6} 20\d\d-/)
  const { status, balance } = (await webpay.status(late.token)) as Answer
  assert.deepEqual([status, balance], ['NULLIFIED', 0])
  const old = await buy()
  await advance(90 * 24 * HOUR_MS + 60_000)
  assert.equal(
    await refusal(webpay.refund(old.token, 10_000)),
    '422 The time for this operation is over (284)',
  )
  assert.deepEqual(await totalsOf(), charged(30_000, { refunded: 20_000, charges: 3, refunds: 2 }))
})

test('parts go back of credit without instalments only, and never more than is left', async (t) => {
  const { sandbox, webpay, create, buy, totalsOf } = await startTransbank(t)
  const { token } = await buy()
  const first = (await webpay.refund(token, 4_000)) as Answer
  assert.deepEqual([first['type'], first['nullified_amount'], first['balance']], ['NULLIFIED', 4_000, 6_000])
  const { status, balance } = (await webpay.status(token)) as Answer
  assert.deepEqual([status, balance], ['PARTIALLY_NULLIFIED', 6_000])
  assert.equal(await refusal(webpay.refund(token, 6_001)), '422 Amount to refund is bigger than authorized')
  assert.equal(((await webpay.refund(token, 6_000)) as Answer)['balance'], 0)
  assert.deepEqual(await totalsOf(), charged(10_000, { refunded: 10_000, refunds: 2 }))
  const debit = await buy({ card: '4051884239937763' })
  assert.equal(await refusal(webpay.refund(debit.token, 1_000)), '422 Operation not allowed (308)')
  const parts = await buy({ installments: 3 })
  assert.match(await refusal(webpay.refund(parts.token, 1_000)), /^422 Partial refund .*\(53\)$/)
  const unpaid = await create()
  const unfinished = '422 Transaction is unfinished, it is not possible to refund it yet'
  assert.equal(await refusal(webpay.refund(unpaid.token, 1_000)), unfinished)
  await sandbox.control('PUT', `/accounts/transbank/${PLAIN}`, { refusals: 'response_code' })
  assert.deepEqual(await webpay.refund(debit.token, 1_000), { response_code: 308 })
})

test('a deferred commerce holds, and captures once, up to what is held, within seven days', async (t) => {
  const { webpay, create, pay, buy, advance, totalsOf } = await startTransbank(t, DEFERRED)
  const { token, told } = await buy()
  const code = String(told['authorization_code'])
  assert.deepEqual(await totalsOf(), charged(0, { authorized: 10_000, charges: 0 }))
  const capture = (amount: number, order = 'order-1', authorization = code) =>
    webpay.capture(token, order, authorization, amount)
  assert.equal(await refusal(capture(9_000, 'order-2')), '422 Transaction not found')
  assert.equal(await refusal(capture(9_000, 'order-1', '0')), '422 Transaction not found')
  assert.equal(await refusal(capture(10_001)), '422 Invalid value for parameter: capture_amount')
  const { authorization_date: date, ...captured } = (await capture(9_000)) as Answer
  assert.match(String(date), /^20\d\d-/)
  assert.deepEqual(captured, { token, authorization_code: code, captured_amount: 9_000, response_code: 0 })
  assert.equal(await refusal(capture(1_000)), '422 Transaction already captured (309)')
  const { status, amount } = (await webpay.status(token)) as Answer
  assert.deepEqual([status, amount], ['CAPTURED', 9_000])
  assert.equal(((await webpay.refund(token, 2_000)) as Answer)['balance'], 7_000)
  assert.deepEqual(await totalsOf(), charged(9_000, { authorized: 10_000, refunded: 2_000, refunds: 1 }))
  const held = await buy()
  await advance(7 * 24 * HOUR_MS + 60_000)
  const late = webpay.capture(held.token, 'order-1', String(held.told['authorization_code']), 1)
  assert.equal(await refusal(late), '422 The time for this operation is over (284)')
  const debit = await create()
  await assert.rejects(pay(debit.token, 'approve', { card: '4051884239937763' }), /credit cards only/)
})

test('what is only held is let go as a whole, and a plain commerce captures nothing', async (t) => {
  const { sandbox, webpay, buy, advance, totalsOf } = await startTransbank(t, DEFERRED)
  const { token } = await buy()
  await advance(5 * HOUR_MS)
  assert.equal(await refusal(webpay.refund(token, 1)), '422 Operation not allowed (308)')
  assert.deepEqual(await webpay.refund(token, 10_000), { type: 'REVERSED' })
  assert.deepEqual(await totalsOf(), charged(0, { authorized: 10_000, voided: 10_000, charges: 0 }))
  const plain = new WebpayPlus.Transaction(optionsFor(sandbox, PLAIN))
  const made = (await plain.create('order-2', 'pay_2', 500, RETURN_URL)) as { token: string }
  await sandbox.control('POST', '/pay', { provider: 'transbank', id: made.token, choice: 'approve' })
  const told = (await plain.commit(made.token)) as Answer
  const capturing = plain.capture(made.token, 'order-2', String(told['authorization_code']), 500)
  assert.equal(await refusal(capturing), '422 Transaction does not allow this operation (16)')
})

test('a Mall pays several shops at once, and refunds and captures each by itself', async (t) => {
  const { sandbox, pay, totalsOf } = await startTransbank(t)
  const mall = new WebpayPlus.MallTransaction(optionsFor(sandbox, MALL))
  const details = [
    new TransactionDetail(1_000, '597055555536', 'child-1'),
    new TransactionDetail(2_000, '597055555537', 'child-2'),
  ]
  const { token } = (await mall.create('order-1', 'pay_1', RETURN_URL, details)) as { token: string }
  await pay(token, 'approve')
  const { details: shops, amount } = (await mall.commit(token)) as { details: Answer[]; amount?: number }
  assert.equal(amount, undefined)
  const seen = shops.map((shop) => [shop['commerce_code'], shop['buy_order'], shop['amount'], shop['status']])
  assert.deepEqual(seen, [
    ['597055555536', 'child-1', 1_000, 'AUTHORIZED'],
    ['597055555537', 'child-2', 2_000, 'AUTHORIZED'],
  ])
  assert.equal(
    await refusal(mall.refund(token, 'child-1', '597055555537', 500)),
    '422 Invalid value for parameter: Transaction Detail not found',
  )
  assert.equal(((await mall.refund(token, 'child-2', '597055555537', 500)) as Answer)['balance'], 1_500)
  assert.deepEqual(await totalsOf(), charged(3_000, { refunded: 500, charges: 2, refunds: 1 }))
  const deferred = new WebpayPlus.MallTransaction(optionsFor(sandbox, '597055555581'))
  const held = [new TransactionDetail(1_000, '597055555582', 'child-3')]
  const made = (await deferred.create('order-2', 'pay_2', RETURN_URL, held)) as { token: string }
  await pay(made.token, 'approve')
  const told = (await deferred.commit(made.token)) as { details: Answer[] }
  const code = String(told.details[0]!['authorization_code'])
  const captured = (await deferred.capture('597055555582', made.token, 'child-3', code, 900)) as Answer
  assert.deepEqual([captured['captured_amount'], captured['response_code']], [900, 0])
  const foreign = [new TransactionDetail(1, '597055555599', 'child-4')]
  const refused = mall.create('order-3', 'pay_3', RETURN_URL, foreign)
  assert.equal(await refusal(refused), '422 Invalid value for parameter: commerce_code')
})

test('the person at Transbank refunds without anybody being told', async (t) => {
  const { sandbox, webpay, buy, totalsOf } = await startTransbank(t)
  const { token } = await buy()
  const refund = (extra: Answer) =>
    sandbox.control('POST', '/act', { provider: 'transbank', action: 'refund', ...extra })
  assert.equal((await refund({ payment: token, amount: 1_000 }))['balance'], 9_000)
  assert.equal((await refund({ payment: 'order-1' }))['balance'], 0)
  await assert.rejects(refund({ payment: 'order-1' }), /Transbank refused it/)
  await assert.rejects(refund({ payment: 'order-9' }), /nothing was paid under this/)
  assert.equal(((await webpay.status(token)) as Answer)['status'], 'NULLIFIED')
  assert.deepEqual(await totalsOf(), charged(10_000, { refunded: 10_000, refunds: 2 }))
})
