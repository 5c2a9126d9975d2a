import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MerchantOrder, Payment, Preference } from 'mercadopago'
import { causeOf, startSeller } from './mercadopago-test-seller.ts'
import type { Body, Seller } from './mercadopago-test-seller.ts'

const SHOP = 'https://shop.example'
const CHECKOUT = {
  items: [
    { id: 'i1', title: 'Pizza', quantity: 2, unit_price: 4_500, currency_id: 'CLP' },
    { id: 'i2', title: 'Despacho', quantity: 1, unit_price: 1_000 },
  ],
  payer: { email: 'ana@example.com' },
  back_urls: { success: `${SHOP}/ok?o=1`, pending: `${SHOP}/wait`, failure: `${SHOP}/no` },
  auto_return: 'approved',
  external_reference: 'pay_1',
}

type Played = { state: string; next: { method: string; url: string; fields: Record<string, string> } | null }

async function play({ sandbox }: Seller, id: unknown, choice: string, extra: Body = {}): Promise<Played> {
  return (await sandbox.control('POST', '/pay', { provider: 'mercadopago', id, choice, ...extra })) as Played
}

async function open(seller: Seller, changes: Body = {}): Promise<Body> {
  const answer = await seller.call('POST', '/checkout/preferences/', { ...CHECKOUT, ...changes })
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}

test('the SDK makes a preference; its page is paid, and the customer comes back with the contract’s parameters', async (t) => {
  const seller = await startSeller(t)
  const preference = await new Preference(seller.config()).create({ body: CHECKOUT })
  const { config } = seller
  assert.equal(preference.site_id, 'MLC')
  const page = await fetch(preference.init_point!)
  const text = await page.text()
  assert.match(text, /2 × Pizza/)
  assert.match(text, /10\.000/)
  const paid = await fetch(preference.init_point!, {
    method: 'POST',
    body: new URLSearchParams({ choice: 'approve', method: 'master', installments: '3', reason: 'FUND' }),
    redirect: 'manual',
  })
  const back = new URL(paid.headers.get('location')!)
  const [payment] = (await new Payment(config()).search({ options: { external_reference: 'pay_1' } }))
    .results!
  assert.equal(payment?.status, 'approved')
  const orderId = back.searchParams.get('merchant_order_id')
  assert.equal(back.origin + back.pathname, `${SHOP}/ok`)
  assert.deepEqual(Object.fromEntries(back.searchParams), {
    o: '1',
    collection_id: String(payment?.id),
    collection_status: 'approved',
    payment_id: String(payment?.id),
    status: 'approved',
    external_reference: 'pay_1',
    payment_type: 'credit_card',
    merchant_order_id: orderId,
    preference_id: preference.id,
    site_id: 'MLC',
    processing_mode: 'aggregator',
    merchant_account_id: 'null',
  })
  const read = await new Payment(config()).get({ id: payment!.id! })
  assert.deepEqual(
    [read.payment_method_id, read.installments, read.transaction_amount],
    ['master', 3, 10_000],
  )
  assert.deepEqual(read.order, { type: 'mercadopago', id: orderId })
  const order = await new MerchantOrder(config()).get({ merchantOrderId: orderId! })
  assert.deepEqual(
    [order.status, order.order_status, order.paid_amount, order.payments?.length],
    ['closed', 'paid', 10_000, 1],
  )
  assert.equal((await seller.ledger('pay_1'))?.['charged'], 10_000)
})

test('a preference may be tried until it is paid, and paid again only if the customer insists', async (t) => {
  const seller = await startSeller(t)
  const { id } = await open(seller)
  const refused = await play(seller, id, 'decline', { reason: 'FUND' })
  assert.equal(refused.state, 'rejected')
  assert.deepEqual([refused.next?.url, refused.next?.fields['status']], [`${SHOP}/no`, 'rejected'])
  assert.equal((await play(seller, id, 'approve')).state, 'approved')
  assert.equal((await play(seller, id, 'approve')).state, 'approved')
  assert.equal((await seller.ledger('pay_1'))?.['charges'], 1)
  await play(seller, id, 'approve', { again: true })
  assert.equal((await seller.ledger('pay_1'))?.['charges'], 2)
  const found = await seller.call('GET', '/v1/payments/search?external_reference=pay_1&criteria=asc')
  const details = (found.body['results'] as Body[]).map((one) => one['status_detail'])
  assert.deepEqual(details, ['cc_rejected_insufficient_amount', 'accredited', 'accredited'])
})

test('cash waits until it is paid at the counter; so does a review until somebody decides', async (t) => {
  const seller = await startSeller(t)
  const { id } = await open(seller)
  const waiting = await play(seller, id, 'pending')
  assert.deepEqual([waiting.state, waiting.next?.url], ['pending', `${SHOP}/wait`])
  const paymentId = waiting.next?.fields['payment_id']
  const { body } = await seller.call('GET', `/v1/payments/${paymentId}`)
  assert.equal(body['payment_type_id'], 'ticket')
  const details = body['transaction_details'] as { external_resource_url: string }
  await fetch(details.external_resource_url, {
    method: 'POST',
    body: new URLSearchParams({ choice: 'approve' }),
  })
  assert.equal((await seller.call('GET', `/v1/payments/${paymentId}`)).body['status'], 'approved')
  const second = await open(seller)
  const review = await play(seller, second['id'], 'review')
  const settled = await seller.sandbox.control('POST', '/act', {
    provider: 'mercadopago',
    action: 'settle',
    payment: review.next?.fields['payment_id'],
    status: 'rejected',
    reason: 'cc_rejected_high_risk',
  })
  assert.deepEqual(
    [review.state, settled['status'], settled['status_detail']],
    ['in_process', 'rejected', 'cc_rejected_high_risk'],
  )
})

test('giving up comes back without a payment; a closed tab and a page that expired do not come back', async (t) => {
  const seller = await startSeller(t)
  const { id } = await open(seller)
  const aborted = await play(seller, id, 'abort')
  assert.deepEqual([aborted.state, aborted.next?.url], ['open', `${SHOP}/no`])
  assert.deepEqual([aborted.next?.fields['payment_id'], aborted.next?.fields['status']], ['null', 'null'])
  assert.deepEqual(await play(seller, id, 'close_tab'), { state: 'open', next: null })
  assert.deepEqual(await play(seller, id, 'time_out'), { state: 'expired', next: null })
  assert.deepEqual(await play(seller, id, 'approve'), { state: 'expired', next: null })
  assert.equal(seller.sandbox.world.ledger.length, 0)
})

test('a preference ends when it was told to', async (t) => {
  const seller = await startSeller(t)
  const until = new Date(Date.now() + 60_000).toISOString()
  const preference = await open(seller, { expires: true, expiration_date_to: until })
  const listed = async () => (await seller.sandbox.control('GET', '/pay'))['pages'] as Body[]
  assert.deepEqual(
    (await listed()).map(({ id, amount }) => [id, amount]),
    [[preference['id'], 10_000]],
  )
  await seller.sandbox.control('PATCH', '/settings', { clock_offset_ms: 61_000 })
  assert.equal((await play(seller, preference['id'], 'approve')).state, 'expired')
  assert.match(await (await fetch(String(preference['init_point']))).text(), /ya no acepta pagos/)
  assert.deepEqual(await listed(), [])
})

test('preferences are checked, changed, read and found', async (t) => {
  const seller = await startSeller(t)
  const refused: Array<[string, Body]> = [
    ['invalid_items', { items: [] }],
    ['invalid_items', { items: [{ title: 'x', quantity: 1, unit_price: 10.5 }] }],
    ['invalid_items', { items: [{ title: 'x', quantity: 0, unit_price: 10 }] }],
    ['invalid_items', { items: [{ title: 'x', quantity: 1, unit_price: 10, currency_id: 'USD' }] }],
    ['invalid_auto_return', { back_urls: {} }],
    ['invalid_notification_url', { notification_url: 'nowhere' }],
  ]
  for (const [error, changes] of refused) {
    const answer = await seller.call('POST', '/checkout/preferences', { ...CHECKOUT, ...changes })
    assert.deepEqual([answer.status, answer.body['error']], [400, error], JSON.stringify(changes))
  }
  const { id } = await open(seller)
  const items = [{ title: 'Empanada', quantity: 1, unit_price: 2_000 }]
  const changed = await seller.call('PUT', `/checkout/preferences/${String(id)}`, { items })
  assert.deepEqual([changed.status, changed.body['external_reference']], [200, 'pay_1'])
  assert.equal((await play(seller, id, 'approve')).state, 'approved')
  assert.equal((await seller.ledger('pay_1'))?.['charged'], 2_000)
  const found = await seller.call('GET', '/checkout/preferences/search?external_reference=pay_1')
  assert.deepEqual(
    (found.body['elements'] as Body[]).map((one) => one['id']),
    [id],
  )
  const stranger = { authorization: 'Bearer TEST-other-seller' }
  assert.equal(
    (await seller.call('GET', `/checkout/preferences/${String(id)}`, undefined, stranger)).status,
    404,
  )
})

test('refunds in the panel and disputes happen without a call', async (t) => {
  const { call, pay, sandbox, ledger } = await startSeller(t)
  const { id } = (await pay()).body
  const act = (action: string, input: Body) =>
    sandbox.control('POST', '/act', { provider: 'mercadopago', action, payment: id, ...input })
  await act('refund', { amount: 2_000 })
  await assert.rejects(act('refund', { amount: 4_000 }), /3000 is left/)
  assert.equal((await ledger('pay_1'))?.['refunded'], 2_000)
  const read = async () => {
    const { body } = await call('GET', `/v1/payments/${String(id)}`)
    return [body['status'], body['status_detail']]
  }
  await act('dispute', { status: 'mediation' })
  assert.deepEqual(await read(), ['in_mediation', 'pending'])
  const chargeback = await act('dispute', { status: 'open' })
  assert.deepEqual(await read(), ['charged_back', 'in_process'])
  await act('dispute', { status: 'lost' })
  assert.deepEqual(await read(), ['charged_back', 'settled'])
  const found = await call('GET', `/v1/chargebacks/search?payment_id=${String(id)}`)
  assert.deepEqual(
    (found.body['results'] as Body[]).map((one) => one['id']),
    [chargeback['id']],
  )
  assert.deepEqual((found.body['results'] as Body[])[0]?.['payments'], [id])
  assert.equal(causeOf(await call('POST', `/v1/payments/${String(id)}/refunds`, {})), 2063)
})

test('refunds may be slow: they wait, count against what is left, and give back when they are settled', async (t) => {
  const { call, pay, sandbox, ledger } = await startSeller(t, { refund_status: 'in_process' })
  const { id } = (await pay()).body
  const refunds = `/v1/payments/${String(id)}/refunds`
  const refund = await call('POST', refunds, { amount: 3_000 })
  assert.equal(refund.body['status'], 'in_process')
  assert.equal(causeOf(await call('POST', refunds, { amount: 3_000 })), 2017)
  assert.equal((await ledger('pay_1'))?.['refunded'], 0)
  const settle = { provider: 'mercadopago', action: 'settle', payment: id, status: 'approved' }
  await sandbox.control('POST', '/act', { ...settle, refund: refund.body['id'] })
  assert.equal((await ledger('pay_1'))?.['refunded'], 3_000)
  assert.equal((await call('GET', `/v1/payments/${String(id)}`)).body['transaction_amount_refunded'], 3_000)
})
