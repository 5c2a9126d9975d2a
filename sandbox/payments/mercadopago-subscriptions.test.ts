import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Invoice, PreApproval, PreApprovalPlan } from 'mercadopago'
import { startSeller } from './mercadopago-test-seller.ts'
import type { Body, Seller } from './mercadopago-test-seller.ts'

const HOUR_MS = 60 * 60 * 1_000
const DAY_MS = 24 * HOUR_MS
const START = new Date('2026-01-31T12:00:00Z')
const SUBSCRIPTION = {
  reason: 'Plan mensual',
  external_reference: 'sub_1',
  payer_email: 'ana@example.com',
  back_url: 'https://shop.example/sub',
  auto_recurring: { frequency: 1, frequency_type: 'months', transaction_amount: 9_990, currency_id: 'CLP' },
}

/** A seller on January 31, whose clock only this test moves. */
async function startAt31(...[t, account]: Parameters<typeof startSeller>): Promise<Seller> {
  return startSeller(t, account, { now: () => START })
}

async function subscribe({ call }: Seller, token = 'tok_apro', changes: Body = {}) {
  const answer = await call('POST', '/preapproval', { ...SUBSCRIPTION, card_token_id: token, ...changes })
  return { status: answer.status, body: answer.body, id: String(answer.body['id']) }
}

async function moveTo({ sandbox }: Seller, time: string): Promise<void> {
  const clock_offset_ms = new Date(time).getTime() - START.getTime()
  await sandbox.control('PATCH', '/settings', { clock_offset_ms })
}

async function invoicesOf({ call }: Seller, id: string) {
  const { body } = await call('GET', `/authorized_payments/search?preapproval_id=${id}`)
  return (body['results'] as Body[]).map((one) => {
    const payment = one['payment'] as Body
    return [one['status'], one['retry_attempt'], payment['status'], String(one['debit_date']).slice(0, 10)]
  })
}

test('with a card a subscription is authorized at once, charged an hour later, and then each month', async (t) => {
  const seller = await startAt31(t)
  const { config } = seller
  const made = await new PreApproval(config()).create({
    body: { ...SUBSCRIPTION, card_token_id: 'tok_apro', status: 'authorized' },
  })
  assert.deepEqual(
    [made.status, made.summarized?.charged_quantity, made.summarized?.semaphore],
    ['authorized', null, 'green'],
  )
  assert.equal(made.next_payment_date, '2026-01-31T09:00:00.000-04:00')
  assert.deepEqual(await invoicesOf(seller, made.id!), [])
  await moveTo(seller, '2026-01-31T13:00:00Z')
  assert.deepEqual(await invoicesOf(seller, made.id!), [['processed', 0, 'approved', '2026-01-31']])
  await moveTo(seller, '2026-04-01T00:00:00Z')
  const after = await new PreApproval(config()).get({ id: made.id! })
  assert.deepEqual([after.summarized?.charged_quantity, after.summarized?.charged_amount], [3, 29_970])
  assert.equal(after.next_payment_date, '2026-04-30T09:00:00.000-04:00')
  const { results } = await new Invoice(config()).search({ options: { preapproval_id: made.id! } })
  assert.deepEqual(
    results?.map((one) => one.debit_date?.slice(0, 10)),
    ['2026-01-31', '2026-02-28', '2026-03-31'],
  )
  const invoice = await new Invoice(config()).get({ id: results![2]!.id! })
  assert.deepEqual(
    [invoice.status, invoice.payment?.status, invoice.external_reference],
    ['processed', 'approved', 'sub_1'],
  )
  assert.deepEqual(
    [(await seller.ledger('sub_1'))?.['charged'], (await seller.ledger('sub_1'))?.['charges']],
    [29_970, 3],
  )
  const { body: payment } = await seller.call('GET', `/v1/payments/${invoice.payment!.id}`)
  const { transaction_data: data } = payment['point_of_interaction'] as { transaction_data: Body }
  assert.deepEqual([payment['operation_type'], data['subscription_id']], ['recurring_payment', made.id])
})

test('a charge that fails is tried four more times in ten days; three unpaid periods end the subscription', async (t) => {
  const seller = await startAt31(t)
  const { id } = await subscribe(seller, 'tok_apro_fund')
  await moveTo(seller, '2026-01-31T13:00:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [['recycling', 0, 'rejected', '2026-01-31']])
  assert.equal(
    ((await seller.call('GET', `/preapproval/${id}`)).body['summarized'] as Body)['semaphore'],
    'yellow',
  )
  await moveTo(seller, '2026-02-10T12:59:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [['recycling', 3, 'rejected', '2026-01-31']])
  await moveTo(seller, '2026-02-10T13:00:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [['processed', 4, 'rejected', '2026-01-31']])
  await moveTo(seller, '2026-04-10T13:00:00Z')
  const { body } = await seller.call('GET', `/preapproval/${id}`)
  assert.equal(body['status'], 'cancelled')
  await moveTo(seller, '2026-06-10T13:00:00Z')
  assert.equal((await invoicesOf(seller, id)).length, 3)
  assert.equal(await seller.ledger('sub_1'), undefined)
})

test('a retry with money on the card, or another card, heals a failed charge', async (t) => {
  const seller = await startAt31(t)
  const { id } = await subscribe(seller)
  const act = { provider: 'mercadopago', action: 'change_card', subscription: id }
  await seller.sandbox.control('POST', '/act', { ...act, holder: 'FUND' })
  await moveTo(seller, '2026-01-31T13:00:00Z')
  assert.equal((await invoicesOf(seller, id))[0]?.[0], 'recycling')
  const changed = await new PreApproval(seller.config()).update({ id, body: { card_token_id: 'tok_apro' } })
  assert.equal(changed.status, 'authorized')
  await moveTo(seller, '2026-02-01T13:00:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [['processed', 1, 'approved', '2026-01-31']])
})

test('a period that is paid starts the count of unpaid ones anew', async (t) => {
  const seller = await startAt31(t)
  const { id } = await subscribe(seller)
  const twoPeriodsUnpaid = Array.from({ length: 10 }, () => 'FUND').join(' ')
  const act = { provider: 'mercadopago', action: 'change_card', subscription: id }
  await seller.sandbox.control('POST', '/act', {
    ...act,
    holder: `${twoPeriodsUnpaid} APRO ${twoPeriodsUnpaid}`,
  })
  await moveTo(seller, '2026-05-20T00:00:00Z')
  const paid = (await invoicesOf(seller, id)).map(([, , status]) => status === 'approved')
  assert.deepEqual(paid, [false, false, true, false])
  assert.equal((await seller.call('GET', `/preapproval/${id}`)).body['status'], 'authorized')
})

test('a pause lets dates pass without charging; resuming charges the next one only; canceling ends it', async (t) => {
  const seller = await startAt31(t)
  const { call } = seller
  const { id } = await subscribe(seller)
  const put = async (body: Body) => {
    const answer = await call('PUT', `/preapproval/${id}`, body)
    return [answer.status, answer.body['status'], answer.body['message']]
  }
  assert.deepEqual((await put({ status: 'paused' })).slice(0, 2), [200, 'paused'])
  const modify = { auto_recurring: { transaction_amount: 5_000, currency_id: 'CLP' } }
  assert.equal((await put(modify))[2], 'You can not modify a paused preapproval.')
  await moveTo(seller, '2026-03-01T00:00:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [])
  assert.deepEqual((await put({ status: 'authorized' })).slice(0, 2), [200, 'authorized'])
  assert.deepEqual(await invoicesOf(seller, id), [])
  assert.equal((await put(modify))[0], 200)
  await moveTo(seller, '2026-04-01T00:00:00Z')
  assert.deepEqual(await invoicesOf(seller, id), [['processed', 0, 'approved', '2026-03-31']])
  assert.equal((await seller.ledger('sub_1'))?.['charged'], 5_000)
  assert.deepEqual((await put({ status: 'cancelled' })).slice(0, 2), [200, 'cancelled'])
  assert.equal((await put({ status: 'authorized' }))[2], 'You can not modify a cancelled preapproval.')
  await moveTo(seller, '2026-07-01T00:00:00Z')
  assert.equal((await invoicesOf(seller, id)).length, 1)
})

test('without a card a subscription waits on its page until a card passes', async (t) => {
  const seller = await startAt31(t)
  const { call, sandbox } = seller
  const { body } = await call('POST', '/preapproval/', SUBSCRIPTION)
  assert.equal(body['status'], 'pending')
  const play = (choice: string, extra: Body = {}) =>
    sandbox.control('POST', '/pay', { provider: 'mercadopago', id: body['id'], choice, ...extra })
  assert.deepEqual(await play('approve', { holder: 'FUND' }), { state: 'pending', next: null })
  assert.match(await (await fetch(String(body['init_point']))).text(), /cada mes/)
  const paid = await fetch(String(body['init_point']), {
    method: 'POST',
    body: new URLSearchParams({ choice: 'approve', method: 'visa', reason: 'FUND' }),
    redirect: 'manual',
  })
  assert.equal(paid.headers.get('location'), `https://shop.example/sub?preapproval_id=${String(body['id'])}`)
  await moveTo(seller, '2026-01-31T13:00:00Z')
  assert.deepEqual(await invoicesOf(seller, String(body['id'])), [['processed', 0, 'approved', '2026-01-31']])
})

test('creating a subscription honours no key, and a card that would be declined makes none', async (t) => {
  const seller = await startAt31(t)
  const { call } = seller
  const key = { 'x-idempotency-key': 'key-1' }
  const first = await call('POST', '/preapproval', SUBSCRIPTION, key)
  const second = await call('POST', '/preapproval', SUBSCRIPTION, key)
  assert.notEqual(first.body['id'], second.body['id'])
  const refusals: Array<[number, string, Body]> = [
    [400, 'CC_VAL_433 Credit card validation has failed', { card_token_id: 'tok_fund' }],
    [404, 'Card token service not found', { card_token_id: 'f'.repeat(32) }],
    [400, 'card_token_id is required', { status: 'authorized' }],
    [
      400,
      'Invalid field -> auto_recurring.frequency',
      { auto_recurring: { ...SUBSCRIPTION.auto_recurring, frequency_type: 'years' } },
    ],
    [
      400,
      'Invalid field -> auto_recurring.currency_id',
      { auto_recurring: { ...SUBSCRIPTION.auto_recurring, currency_id: 'USD' } },
    ],
    [400, 'payer_email is required', { payer_email: '' }],
  ]
  for (const [status, message, changes] of refusals) {
    const answer = await call('POST', '/preapproval', { ...SUBSCRIPTION, ...changes })
    assert.deepEqual([answer.status, answer.body['message']], [status, message])
  }
  const stranger = { authorization: 'Bearer TEST-other-seller' }
  const foreign = await call('GET', `/preapproval/${String(first.body['id'])}`, undefined, stranger)
  assert.deepEqual(
    [foreign.status, String(foreign.body['message']).includes('not valid for callerId')],
    [400, true],
  )
})

test('the search knows e-mail and status, ignores our reference, and leaves dates out', async (t) => {
  const seller = await startAt31(t)
  const { call } = seller
  await subscribe(seller)
  await subscribe(seller, 'tok_apro', { payer_email: 'bea@example.com', external_reference: 'sub_2' })
  const search = async (query: string) =>
    (await call('GET', `/preapproval/search?${query}`)).body['results'] as Body[]
  assert.deepEqual(
    (await search('payer_email=bea@example.com')).map((one) => one['external_reference']),
    ['sub_2'],
  )
  assert.equal((await search('external_reference=sub_2')).length, 2)
  assert.equal((await search('status=paused')).length, 0)
  assert.deepEqual(
    (await search('status=authorized')).map((one) => one['next_payment_date']),
    [null, null],
  )
})

test('a start later, a trial and an end move the charges', async (t) => {
  const seller = await startAt31(t)
  const terms = SUBSCRIPTION.auto_recurring
  const later = await subscribe(seller, 'tok_apro', {
    auto_recurring: {
      ...terms,
      start_date: '2026-02-10T12:00:00.000Z',
      end_date: '2026-03-20T00:00:00.000Z',
    },
  })
  const trial = { frequency: 14, frequency_type: 'days' }
  const tried = await subscribe(seller, 'tok_apro', { auto_recurring: { ...terms, free_trial: trial } })
  await moveTo(seller, '2026-05-01T00:00:00Z')
  const datesOf = async (id: string) => (await invoicesOf(seller, id)).map(([, , , date]) => date)
  assert.deepEqual(await datesOf(later.id), ['2026-02-10', '2026-03-10'])
  assert.equal((await seller.call('GET', `/preapproval/${later.id}`)).body['status'], 'cancelled')
  assert.deepEqual(await datesOf(tried.id), ['2026-02-14', '2026-03-14', '2026-04-14'])
})

test('a plan rules its subscriptions: its amount, its number of charges, its text', async (t) => {
  const seller = await startAt31(t)
  const { call, config } = seller
  const plan = await new PreApprovalPlan(config()).create({
    body: {
      reason: 'Plan oro',
      back_url: 'https://shop.example/plan',
      auto_recurring: { ...SUBSCRIPTION.auto_recurring, repetitions: 2 },
    },
  })
  const body = { preapproval_plan_id: plan.id, payer_email: 'ana@example.com', card_token_id: 'tok_apro' }
  const other = await call('POST', '/preapproval', { ...body, auto_recurring: { transaction_amount: 1 } })
  assert.equal(other.body['message'], 'The transaction_amount must be the same as preapproval_plan')
  const made = await call('POST', '/preapproval', { ...body, reason: 'Mío', external_reference: 'sub_1' })
  assert.deepEqual([made.body['reason'], made.body['preapproval_plan_id']], ['Plan oro', plan.id])
  await call('PUT', `/preapproval_plan/${plan.id!}`, { auto_recurring: { transaction_amount: 20_000 } })
  await moveTo(seller, '2026-06-01T00:00:00Z')
  const page = await fetch(plan.init_point!)
  assert.match(await page.text(), /Plan oro/)
  assert.deepEqual(
    [(await seller.ledger('sub_1'))?.['charged'], (await seller.ledger('sub_1'))?.['charges']],
    [40_000, 2],
  )
})

test('a renewal can be called now, and the customer can end it in MercadoPago’s own app', async (t) => {
  const seller = await startAt31(t)
  const { id } = await subscribe(seller)
  const act = (action: string, input: Body = {}) =>
    seller.sandbox.control('POST', '/act', { provider: 'mercadopago', action, subscription: id, ...input })
  const renewed = await act('renew')
  assert.equal(renewed['next_payment_date'], '2026-02-28T09:00:00.000-04:00')
  assert.equal((await seller.ledger('sub_1'))?.['charged'], 9_990)
  await act('change_subscription', { status: 'cancelled' })
  assert.equal((await seller.call('GET', `/preapproval/${id}`)).body['status'], 'cancelled')
  await moveTo(seller, new Date(START.getTime() + 90 * DAY_MS).toISOString())
  assert.equal((await seller.ledger('sub_1'))?.['charges'], 1)
})
