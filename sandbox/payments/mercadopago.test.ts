import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CardToken, Payment, PaymentRefund } from 'mercadopago'
import { causeOf, startSeller, TOKEN } from './mercadopago-test-seller.ts'
import type { Body } from './mercadopago-test-seller.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const CARD = {
  card_number: '4168818844447115',
  expiration_month: '11',
  expiration_year: '2030',
  security_code: '123',
}

test('the SDK tokenizes, charges, reads, captures a part, refunds a part and the rest', async (t) => {
  const { config, ledger } = await startSeller(t)
  const holder = { cardholder: { name: 'APRO', identification: { type: 'RUT', number: '11111111-1' } } }
  const token = await new CardToken(config()).create({ body: { ...CARD, ...holder } })
  assert.match(token.id!, /^[0-9a-f]{32}$/)
  const payment = await new Payment(config()).create({
    body: {
      transaction_amount: 12_990,
      token: token.id!,
      installments: 3,
      capture: false,
      payer: { email: 'ana@example.com' },
      external_reference: 'pay_1',
    },
    requestOptions: { idempotencyKey: 'key-1' },
  })
  assert.deepEqual(
    [payment.status, payment.status_detail, payment.captured],
    ['authorized', 'pending_capture', false],
  )
  assert.deepEqual(
    [payment.currency_id, payment.payment_method_id, payment.payment_type_id, payment.live_mode],
    ['CLP', 'visa', 'credit_card', false],
  )
  assert.deepEqual([payment.card?.first_six_digits, payment.card?.last_four_digits], ['416881', '7115'])
  assert.match(payment.date_created!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-04:00$/)
  const captured = await new Payment(config()).capture({ id: payment.id!, transaction_amount: 10_000 })
  assert.deepEqual(
    [captured.status, captured.transaction_amount, captured.captured],
    ['approved', 10_000, true],
  )
  const refunds = new PaymentRefund(config())
  const part = await refunds.create({ payment_id: payment.id!, body: { amount: 4_000 } })
  assert.deepEqual([part.status, part.amount, part.payment_id], ['approved', 4_000, payment.id])
  const between = await new Payment(config()).get({ id: payment.id! })
  assert.deepEqual(
    [between.status, between.status_detail, between.transaction_amount_refunded],
    ['approved', 'partially_refunded', 4_000],
  )
  const rest = await new PaymentRefund(config()).total({ payment_id: payment.id! })
  assert.equal(rest.amount, 6_000)
  const after = await new Payment(config()).get({ id: payment.id! })
  assert.deepEqual([after.status, after.status_detail, after.refunds?.length], ['refunded', 'refunded', 2])
  const read = await new PaymentRefund(config()).get({ payment_id: payment.id!, refund_id: part.id! })
  assert.equal(read.amount, 4_000)
  assert.deepEqual(await ledger('pay_1'), {
    authorized: 12_990,
    charged: 10_000,
    refunded: 10_000,
    voided: 0,
    charges: 1,
    refunds: 2,
  })
})

test('the name of the cardholder decides, as MercadoPago’s test cards say; a declined card is 201', async (t) => {
  const { pay, ledger } = await startSeller(t)
  const expected: Record<string, [status: string, detail: string]> = {
    apro: ['approved', 'accredited'],
    cont: ['in_process', 'pending_contingency'],
    othe: ['rejected', 'cc_rejected_other_reason'],
    call: ['rejected', 'cc_rejected_call_for_authorize'],
    fund: ['rejected', 'cc_rejected_insufficient_amount'],
    secu: ['rejected', 'cc_rejected_bad_filled_security_code'],
    expi: ['rejected', 'cc_rejected_bad_filled_date'],
    form: ['rejected', 'cc_rejected_bad_filled_other'],
    card: ['rejected', 'cc_rejected_bad_filled_card_number'],
    inst: ['rejected', 'cc_rejected_invalid_installments'],
    dupl: ['rejected', 'cc_rejected_duplicated_payment'],
    lock: ['rejected', 'cc_rejected_card_disabled'],
    ctna: ['rejected', 'cc_rejected_card_type_not_allowed'],
    atte: ['rejected', 'cc_rejected_max_attempts'],
    blac: ['rejected', 'cc_rejected_blacklist'],
    unsu: ['rejected', 'cc_rejected_other_reason'],
    cc_rejected_high_risk: ['rejected', 'cc_rejected_high_risk'],
    pending_review_manual: ['in_process', 'pending_review_manual'],
  }
  for (const [word, [status, detail]] of Object.entries(expected)) {
    const answer = await pay({ token: `tok_${word}`, external_reference: word })
    assert.deepEqual(
      [answer.status, answer.body['status'], answer.body['status_detail']],
      [201, status, detail],
      word,
    )
    assert.equal((await ledger(word))?.['charged'], status === 'approved' ? 5000 : undefined)
  }
})

test('a card token pays once; unknown, misshapen and other sellers’ tokens pay nothing', async (t) => {
  const { call, pay } = await startSeller(t)
  const made = await call('POST', '/v1/card_tokens', { ...CARD, cardholder: { name: 'FUND' } })
  const token = made.body['id']
  assert.equal((await pay({ token })).body['status_detail'], 'cc_rejected_insufficient_amount')
  assert.equal(causeOf(await pay({ token })), 2062)
  assert.equal(causeOf(await pay({ token: 'f'.repeat(32) })), 2006)
  assert.equal(causeOf(await pay({ token: 'not a token' })), 3003)
  const other = await call('POST', '/v1/card_tokens', { ...CARD, cardholder: { name: 'APRO' } })
  const stranger = { authorization: 'Bearer TEST-other-seller' }
  assert.equal(causeOf(await pay({ token: other.body['id'] }, stranger)), 2006)
})

test('a browser makes tokens with the public key alone', async (t) => {
  const { call, pay, sandbox } = await startSeller(t)
  const { accounts } = await sandbox.control('GET', '/accounts')
  const mine = (accounts as Body[]).find(({ token }) => token === TOKEN)
  const path = `/v1/card_tokens?public_key=${String(mine?.['public_key'])}`
  const made = await call('POST', path, { ...CARD, cardholder: { name: 'APRO' } }, { authorization: '' })
  assert.equal(made.status, 201)
  assert.equal((await pay({ token: made.body['id'] })).body['status'], 'approved')
})

test('payments and refunds need a key, repeat the answer for it, and refuse another body under it', async (t) => {
  const { call, pay, ledger } = await startSeller(t)
  assert.equal(causeOf(await pay({}, { 'x-idempotency-key': '' })), 4292)
  const first = await pay({}, { 'x-idempotency-key': 'key-1' })
  const again = await pay({}, { 'x-idempotency-key': 'key-1' })
  assert.deepEqual([again.status, again.body['id']], [201, first.body['id']])
  const other = await pay({ transaction_amount: 6000 }, { 'x-idempotency-key': 'key-1' })
  assert.equal(other.status, 409)
  const refunds = `/v1/payments/${String(first.body['id'])}/refunds`
  assert.equal(causeOf(await call('POST', refunds, {}, { 'x-idempotency-key': '' })), 4292)
  const refund = await call('POST', refunds, { amount: 100 }, { 'x-idempotency-key': 'key-2' })
  const repeated = await call('POST', refunds, { amount: 100 }, { 'x-idempotency-key': 'key-2' })
  assert.equal(repeated.body['id'], refund.body['id'])
  const totals = await ledger('pay_1')
  assert.deepEqual([totals?.['charges'], totals?.['refunded']], [1, 100])
})

test('a seller can be set to answer a repeated refund with an empty 200, as was seen', async (t) => {
  const { call, pay, ledger } = await startSeller(t, { refund_replay: 'empty' })
  const refunds = `/v1/payments/${String((await pay()).body['id'])}/refunds`
  await call('POST', refunds, { amount: 100 }, { 'x-idempotency-key': 'key-1' })
  const again = await call('POST', refunds, { amount: 100 }, { 'x-idempotency-key': 'key-1' })
  assert.deepEqual([again.status, again.text], [200, ''])
  assert.equal((await ledger('pay_1'))?.['refunds'], 1)
})

test('pesos of Chile and Colombia are whole; others have two decimals at most', async (t) => {
  const { pay, sandbox } = await startSeller(t)
  assert.equal(causeOf(await pay({ transaction_amount: 100.5 })), 2072)
  const inCountry = async (site: string, amount: number) => {
    const token = `TEST-${site}-fake`
    const answer = await pay({ transaction_amount: amount }, { authorization: `Bearer ${token}` })
    return [answer.status, answer.body['currency_id'] ?? causeOf(answer)]
  }
  assert.deepEqual(await inCountry('MCO', 100.5), [400, 2072])
  assert.deepEqual(await inCountry('MCO', 12_990), [201, 'COP'])
  assert.deepEqual(await inCountry('MLA', 58.8), [201, 'ARS'])
  assert.deepEqual(await inCountry('MLB', 0.305), [400, 2072])
  const amounts = sandbox.world.ledger.map(({ currency, amount }) => [currency, amount])
  assert.deepEqual(amounts, [
    ['COP', 1_299_000],
    ['ARS', 5_880],
  ])
})

test('what is wrong with a payment is told by the code of a cause, and nothing is made', async (t) => {
  const { pay, sandbox } = await startSeller(t)
  const wrong: Array<[number, Body]> = [
    [8, { amount: 1 }],
    [2072, { transaction_amount: -1 }],
    [2072, { transaction_amount: '5000' }],
    [4002, { payer: undefined }],
    [4050, { payer: { email: 'nobody' } }],
    [2131, { payment_method_id: undefined, token: undefined }],
    [3003, { token: undefined }],
    [3028, { payment_method_id: 'nope', token: undefined }],
    [2077, { payment_method_id: 'servipag', token: undefined, capture: false }],
    [4020, { notification_url: 'not a url' }],
    [2002, { payer: { type: 'customer', id: 'nobody' } }],
    [4004, { installments: 0 }],
  ]
  for (const [code, changes] of wrong) {
    const answer = await pay(changes)
    assert.deepEqual([answer.status, causeOf(answer)], [400, code], JSON.stringify(changes))
  }
  assert.equal(sandbox.world.ledger.length, 0)
})

test('states are kept: what is over is neither captured, canceled nor given back again', async (t) => {
  const { call, pay } = await startSeller(t)
  const path = `/v1/payments/${String((await pay()).body['id'])}`
  assert.equal(causeOf(await call('PUT', path, { capture: true })), 3005)
  assert.equal(causeOf(await call('PUT', path, { status: 'cancelled' })), 3005)
  assert.equal(causeOf(await call('POST', `${path}/refunds`, { amount: 5001 })), 2017)
  assert.equal((await call('POST', `${path}/refunds`, {})).status, 201)
  assert.equal(causeOf(await call('POST', `${path}/refunds`, {})), 2063)
  const held = `/v1/payments/${String((await pay({ capture: false })).body['id'])}`
  assert.equal(causeOf(await call('POST', `${held}/refunds`, {})), 2063)
  assert.equal(causeOf(await call('PUT', held, { capture: true, transaction_amount: 5001 })), 2017)
  const canceled = await call('PUT', held, { status: 'cancelled' })
  assert.deepEqual([canceled.body['status'], canceled.body['status_detail']], ['cancelled', 'by_collector'])
  const missing = await call('GET', '/v1/payments/1')
  assert.deepEqual([missing.status, causeOf(missing)], [404, 2000])
  const stranger = { authorization: 'Bearer TEST-other-seller' }
  assert.equal((await call('GET', path, undefined, stranger)).status, 404)
})

test('the clock ends what waits: authorizations after five days, vouchers when they are due, refunds after 180', async (t) => {
  const { call, pay, ledger, sandbox } = await startSeller(t)
  const statusOf = async (id: unknown) => {
    const { body } = await call('GET', `/v1/payments/${String(id)}`)
    return [body['status'], body['status_detail']]
  }
  const paid = await pay({ external_reference: 'paid' })
  const held = await pay({ capture: false, external_reference: 'held' })
  const cash = await pay({ token: undefined, payment_method_id: 'servipag' })
  assert.deepEqual([cash.body['status'], cash.body['status_detail']], ['pending', 'pending_waiting_payment'])
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 6 * DAY_MS })
  assert.deepEqual(await statusOf(held.body['id']), ['cancelled', 'expired'])
  assert.deepEqual(await statusOf(cash.body['id']), ['pending', 'pending_waiting_payment'])
  assert.equal((await ledger('held'))?.['voided'], 5000)
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 31 * DAY_MS })
  assert.deepEqual(await statusOf(cash.body['id']), ['cancelled', 'expired'])
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 181 * DAY_MS })
  assert.equal(causeOf(await call('POST', `/v1/payments/${String(paid.body['id'])}/refunds`, {})), 2024)
})

test('searches find by reference and by time, newest first, page by page', async (t) => {
  const { config, call, pay, sandbox } = await startSeller(t)
  const made: unknown[] = []
  for (const reference of ['a', 'b', 'a'])
    made.push((await pay({ external_reference: reference })).body['id'])
  const found = await new Payment(config()).search({
    options: { external_reference: 'a', sort: 'date_created' },
  })
  const ids = found.results?.map(({ id }) => id)
  assert.deepEqual([found.paging?.total, ids], [2, [made[2], made[0]]])
  const refused = await call('GET', '/v1/payments/search?status=rejected')
  assert.deepEqual(refused.body['results'], [])
  await sandbox.control('PATCH', '/settings', { clock_offset_ms: 2 * DAY_MS })
  const last = await pay({ external_reference: 'c' })
  const recent = await call('GET', '/v1/payments/search?range=date_created&begin_date=NOW-1DAY&end_date=NOW')
  assert.deepEqual(
    (recent.body['results'] as Body[]).map(({ id }) => id),
    [last.body['id']],
  )
  const page = await call('GET', '/v1/payments/search?criteria=asc&limit=2&offset=1')
  assert.deepEqual(
    (page.body['results'] as Body[]).map((one) => one['external_reference']),
    ['b', 'a'],
  )
  assert.deepEqual(page.body['paging'], { total: 4, limit: 2, offset: 1 })
  assert.equal((await call('GET', '/v1/payments/search?begin_date=yesterday')).status, 400)
  await sandbox.control('PUT', `/accounts/mercadopago/${TOKEN}`, { search_lag_ms: 60_000 })
  const late = await call('GET', '/v1/payments/search?external_reference=c')
  assert.deepEqual(late.body['results'], [])
})

test('a bank’s challenge waits on its page; confirming it pays, failing it does not', async (t) => {
  const { call, pay, sandbox, ledger } = await startSeller(t)
  const asked = { token: 'tok_chal', three_d_secure_mode: 'optional' }
  const payment = await pay({ ...asked, callback_url: 'https://shop.example/back' })
  assert.deepEqual([payment.body['status'], payment.body['status_detail']], ['pending', 'pending_challenge'])
  const { external_resource_url: url, creq } = payment.body['three_ds_info'] as {
    external_resource_url: string
    creq: string
  }
  const opened = await fetch(url, { method: 'POST', body: new URLSearchParams({ creq }) })
  assert.match(await opened.text(), /Tu banco pide confirmar/)
  const confirmed = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams({ choice: 'approve' }),
    redirect: 'manual',
  })
  assert.deepEqual([confirmed.status, confirmed.headers.get('location')], [303, 'https://shop.example/back'])
  const read = await call('GET', `/v1/payments/${String(payment.body['id'])}`)
  assert.deepEqual([read.body['status'], read.body['three_ds_info']], ['approved', undefined])
  assert.equal((await ledger('pay_1'))?.['charged'], 5000)
  const failed = await pay(asked)
  const id = failed.body['id']
  const played = await sandbox.control('POST', '/pay', { provider: 'mercadopago', id, choice: 'decline' })
  assert.deepEqual(played, { state: 'rejected', next: null })
  assert.equal((await pay({ token: 'tok_chal' })).body['status_detail'], 'cc_rejected_3ds_mandatory')
  assert.equal((await pay({ three_d_secure_mode: 'mandatory' })).body['status_detail'], 'pending_challenge')
})

test('binary payments never wait', async (t) => {
  const { pay } = await startSeller(t)
  assert.equal((await pay({ token: 'tok_cont', binary_mode: true })).body['status'], 'rejected')
})
