import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Payment, WebhookSignatureValidator } from 'mercadopago'
import type { Received } from '../test-receiver.ts'
import { ofTopic, readWebhook, startSeller, TOKEN } from './mercadopago-test-seller.ts'
import type { Body, Seller } from './mercadopago-test-seller.ts'
import { signMercadopago } from './mercadopago-webhooks.ts'

const SECRET = 'fake-webhook-secret'
const SUBSCRIPTION = {
  reason: 'Plan',
  payer_email: 'ana@example.com',
  card_token_id: 'tok_apro',
  auto_recurring: { frequency: 1, frequency_type: 'months', transaction_amount: 100, currency_id: 'CLP' },
}

/** Whether the SDK takes it, given the id as it came in the query unless told otherwise. */
function isGenuine(received: Received, secret = SECRET, dataId = readWebhook(received).id): boolean {
  try {
    WebhookSignatureValidator.validate({
      xSignature: received.headers['x-signature'],
      xRequestId: received.headers['x-request-id'],
      dataId,
      secret,
    })
    return true
  } catch {
    return false
  }
}

/** What was ever to be told, taken or not. */
async function listTold({ sandbox }: Seller): Promise<string[]> {
  const { callbacks } = await sandbox.control('GET', '/callbacks')
  return (callbacks as Array<{ events: string[] }>).flatMap(({ events }) => events).toSorted()
}

const actionsOf = (received: Received[]) => received.map((one) => readWebhook(one).body['action'])

async function addFault({ sandbox }: Seller, fault: string, extra: Body = {}): Promise<void> {
  const rule = { provider: 'mercadopago', fault, operation: 'create', times: 1, ...extra }
  await sandbox.control('POST', '/payment-faults', rule)
}

async function countCharges({ sandbox }: Seller): Promise<number> {
  const { entries } = await sandbox.control('GET', '/ledger?provider=mercadopago')
  return (entries as Body[]).filter(({ kind }) => kind === 'charge').length
}

test('signatures are the contract’s vectors, and absent parts leave no trace', () => {
  const requestId = 'bb56a2f1-6aae-46ac-982e-9dcd3581d08e'
  const vectors: Array<[id: string | null, ts: string, hash: string]> = [
    ['123456789', '1742505638683', 'a72240515e67943bd87bf451f0ffae081db56ae4eb13b57258c7b67986e77cad'],
    ['123456789', '1704908010', '1872e7d10f4f7ac0fe7c6093d8d6b004633c83275a449850f5fc6c781e9b03d9'],
    [
      'ord01jq4s4ky8hwq6na5pxb65b3d3',
      '1742505638683',
      '74d22f39e5c7a5e4bde83642e68cd69a396aebd7c28738000af678a0aa34803f',
    ],
    [null, '1742505638683', '155c30a352695e3bbafa32a7aaa0646f03f8073ba645b1ffb68e81bcbb448935'],
  ]
  for (const [id, ts, hash] of vectors) {
    const signature = signMercadopago('mp_secret_tenantA', { id, requestId, ts })
    assert.equal(signature, `ts=${ts},v1=${hash}`)
    const options = { xSignature: signature, xRequestId: requestId, dataId: id, secret: 'mp_secret_tenantA' }
    assert.doesNotThrow(() => WebhookSignatureValidator.validate(options))
  }
})

test('each change of a payment is told, signed, to the seller’s URL; the SDK takes it', async (t) => {
  const { call, pay, receiver } = await startSeller(t, { webhook_secret: SECRET })
  const { id } = (await pay({ capture: false })).body
  await call('PUT', `/v1/payments/${String(id)}`, { capture: true })
  await call('POST', `/v1/payments/${String(id)}/refunds`, {})
  const received = await receiver.waitFor(3)
  assert.deepEqual(actionsOf(received), ['payment.created', 'payment.updated', 'payment.updated'])
  for (const one of received) {
    const url = new URL(one.url)
    assert.deepEqual(
      [url.searchParams.get('tenant_id'), url.searchParams.get('data.id'), url.searchParams.get('type')],
      ['t_1', String(id), 'payment'],
    )
    assert.ok(isGenuine(one))
    assert.ok(!isGenuine(one, 'another-secret'))
    assert.ok(!isGenuine(one, SECRET, '1'))
    assert.match(one.headers['x-signature']!, /^ts=\d{13},v1=/)
  }
  const { body } = readWebhook(received[0]!)
  assert.deepEqual([body['type'], body['data'], body['live_mode']], ['payment', { id: String(id) }, false])
})

test('the time may be in seconds and the signed id in lower case, as docs and deliveries disagree', async (t) => {
  const options = { webhook_secret: SECRET, ts_unit: 's', id_case: 'lowered' }
  const { call, receiver } = await startSeller(t, options)
  const made = await call('POST', '/preapproval', SUBSCRIPTION)
  const [received] = await receiver.waitFor(1, ofTopic('subscription_preapproval'))
  const { id } = readWebhook(received!)
  assert.equal(id, String(made.body['id']).toUpperCase())
  assert.match(received!.headers['x-signature']!, /^ts=\d{10},v1=/)
  assert.ok(!isGenuine(received!))
  assert.ok(isGenuine(received!, SECRET, id!.toLowerCase()))
  assert.equal((await call('GET', `/preapproval/${id!}`)).body['id'], made.body['id'])
})

test('a payment’s own URL wins and gets the old IPN too, unless it declines', async (t) => {
  const seller = await startSeller(t, { webhook_secret: SECRET })
  const { pay, receiver } = seller
  await pay({ notification_url: `${receiver.url}/both` })
  await pay({ notification_url: `${receiver.url}/new?source_news=webhooks` })
  await pay({ notification_url: `${receiver.url}/old?source_news=ipn` })
  const received = await receiver.waitFor(4)
  const shapes = received.map(({ url, headers }) => {
    const { pathname, searchParams } = new URL(url)
    return `${pathname} ${searchParams.get('type') ?? searchParams.get('topic')} ${'x-signature' in headers}`
  })
  assert.deepEqual(shapes.toSorted(), [
    '/both payment false',
    '/both payment true',
    '/new payment true',
    '/old payment false',
  ])
  assert.equal((await listTold(seller)).length, 4)
  const legacy = received.find(({ headers }) => !('x-signature' in headers))!
  const { body } = readWebhook(legacy)
  assert.deepEqual(body, { resource: new URL(legacy.url).searchParams.get('id'), topic: 'payment' })
})

test('a checkout tells of the payment and, the old way, of its order', async (t) => {
  const { call, receiver, sandbox } = await startSeller(t)
  const items = [{ title: 'Pizza', quantity: 1, unit_price: 5000 }]
  const { body } = await call('POST', '/checkout/preferences', {
    items,
    notification_url: `${receiver.url}/n`,
  })
  await sandbox.control('POST', '/pay', { provider: 'mercadopago', id: body['id'], choice: 'approve' })
  const received = await receiver.waitFor(3)
  const order = received.find(({ url }) => url.includes('topic=merchant_order'))!
  assert.match(
    String(readWebhook(order).body['resource']),
    /^https:\/\/api\.mercadolibre\.com\/merchant_orders\/\d+$/,
  )
})

test('subscriptions tell of themselves, of each instalment and of its payment; a new amount is not told', async (t) => {
  const seller = await startSeller(t, { webhook_secret: SECRET })
  const { call, receiver, sandbox } = seller
  const own = { notification_url: `${receiver.url}/own` }
  const { id } = (await call('POST', '/preapproval', { ...SUBSCRIPTION, ...own })).body
  const put = (body: Body) => call('PUT', `/preapproval/${String(id)}`, body)
  await put({ status: 'paused' })
  await put({ status: 'authorized' })
  await put({ auto_recurring: { transaction_amount: 200, currency_id: 'CLP' } })
  await sandbox.control('POST', '/act', { provider: 'mercadopago', action: 'renew', subscription: id })
  const [invoice] = await receiver.waitFor(1, ofTopic('subscription_authorized_payment'))
  assert.deepEqual(await listTold(seller), [
    'payment.created',
    'subscription_authorized_payment.created',
    'subscription_preapproval.created',
    'subscription_preapproval.updated',
    'subscription_preapproval.updated',
  ])
  assert.ok(receiver.received.every((one) => isGenuine(one) && !one.url.includes('/own')))
  const read = await call('GET', `/authorized_payments/${readWebhook(invoice!).id!}`)
  assert.deepEqual([read.body['status'], read.body['transaction_amount']], ['processed', 200])
})

test('a dispute and an ended link are told', async (t) => {
  const { call, pay, receiver, sandbox } = await startSeller(t, { webhook_secret: SECRET })
  const { id } = (await pay()).body
  const act = (input: Body) => sandbox.control('POST', '/act', { provider: 'mercadopago', ...input })
  await act({ action: 'dispute', payment: id, status: 'open' })
  const [told] = await receiver.waitFor(1, ofTopic('topic_chargebacks_wh'))
  const chargeback = await call('GET', `/v1/chargebacks/${readWebhook(told!).id!}`)
  assert.deepEqual([chargeback.body['payments'], chargeback.body['amount']], [[id], 5000])
  await act({ action: 'unlink', account: TOKEN })
  const [gone] = await receiver.waitFor(1, ofTopic('mp-connect'))
  assert.equal(readWebhook(gone!).body['action'], 'application.deauthorized')
})

test('what is not taken comes again, signed anew under the same id', async (t) => {
  const { pay, receiver } = await startSeller(t, { webhook_secret: SECRET })
  let refused = 0
  receiver.answerWith(() => ({ status: (refused += 1) === 1 ? 500 : 201 }))
  await pay()
  const [first, second] = await receiver.waitFor(2)
  assert.equal(readWebhook(first!).body['id'], readWebhook(second!).body['id'])
  assert.ok(isGenuine(second!))
})

test('faults without effect leave nothing behind, in MercadoPago’s own words', async (t) => {
  const seller = await startSeller(t)
  const expected: Array<[string, number, unknown]> = [
    ['rate_limited', 429, 'too_many_requests'],
    ['transient', 500, 'internal_server_error'],
    ['unauthorized', 401, 'unauthorized'],
    ['server_error', 502, undefined],
  ]
  for (const [fault, status, error] of expected) {
    await addFault(seller, fault, { retry_after: 7 })
    const answer = await seller.pay()
    assert.deepEqual([answer.status, answer.body['error']], [status, error])
    assert.equal(answer.headers.get('retry-after'), status === 429 ? '7' : null)
  }
  await addFault(seller, 'reset')
  await assert.rejects(seller.pay())
  assert.equal(await countCharges(seller), 0)
  assert.equal((await seller.pay()).status, 201)
})

test('an answer lost after charging is told again under its key, and found by reference; nobody pays twice', async (t) => {
  const seller = await startSeller(t)
  for (const fault of ['reset_after', 'server_error_after']) {
    const key = { 'x-idempotency-key': fault }
    await addFault(seller, fault, { reference: fault })
    const lost = await seller.pay({ external_reference: fault }, key).catch(() => null)
    assert.ok(lost === null || lost.status === 502)
    const again = await seller.pay({ external_reference: fault }, key)
    const { results } = await new Payment(seller.config()).search({ options: { external_reference: fault } })
    assert.deepEqual([results?.length, results?.[0]?.id], [1, again.body['id']])
  }
  assert.equal(await countCharges(seller), 2)
})

test('a call that never answers ends by the caller’s own patience, after its effect or before', async (t) => {
  const seller = await startSeller(t)
  const impatient = async (fault: string) => {
    await addFault(seller, fault)
    const payment = new Payment(seller.config())
    const body = { transaction_amount: 100, token: 'tok_apro', payer: { email: 'ana@example.com' } }
    await assert.rejects(payment.create({ body, requestOptions: { timeout: 100 } }), /aborted/)
  }
  await impatient('hang')
  assert.equal(await countCharges(seller), 0)
  await impatient('hang_after')
  assert.equal(await countCharges(seller), 1)
})

test('an odd status is in the answer only', async (t) => {
  const seller = await startSeller(t)
  await addFault(seller, 'odd_status')
  const odd = await seller.pay()
  assert.equal(odd.body['status'], 'under_observation')
  assert.equal(
    (await seller.call('GET', `/v1/payments/${String(odd.body['id'])}`)).body['status'],
    'approved',
  )
})

test('webhooks of a call come twice, turned around, late, early or never, as its fault says', async (t) => {
  const seller = await startSeller(t)
  const { pay, receiver, sandbox } = seller
  const payWith = async (fault: string) => {
    await addFault(seller, fault)
    const { body } = await pay({ notification_url: `${receiver.url}/n?p=${fault}` })
    return { id: String(body['id']), isOf: ({ url }: Received) => url.includes(`p=${fault}&`) }
  }
  const twice = await payWith('webhook_duplicate')
  const doubled = await receiver.waitFor(4, twice.isOf)
  const ids = doubled.map((one) => readWebhook(one).body['id']).filter(Boolean)
  assert.deepEqual([ids.length, new Set(ids).size], [2, 1])
  const turned = await payWith('webhook_reordered')
  const reordered = await receiver.waitFor(2, turned.isOf)
  assert.deepEqual(
    reordered.map(({ headers }) => 'x-signature' in headers),
    [false, true],
  )
  const early = await payWith('webhook_early')
  assert.equal(receiver.received.filter(early.isOf).length >= 1, true)
  const dropped = await payWith('webhook_dropped')
  await sandbox.control('PATCH', '/settings', { late_ms: 50 })
  const late = await payWith('webhook_late')
  await receiver.waitFor(2, late.isOf)
  assert.equal(receiver.received.filter(dropped.isOf).length, 0)
})

test('a reset forgets payments and keys, and keeps accounts and their secrets', async (t) => {
  const { call, pay, sandbox } = await startSeller(t, { webhook_secret: SECRET })
  const key = { 'x-idempotency-key': 'key-1' }
  const { id } = (await pay({}, key)).body
  await sandbox.control('POST', '/reset')
  assert.equal((await call('GET', `/v1/payments/${String(id)}`)).status, 404)
  assert.notEqual((await pay({}, key)).body['id'], id)
  const { accounts } = await sandbox.control('GET', '/accounts')
  const mine = (accounts as Body[]).find(({ token }) => token === TOKEN)
  assert.equal(mine?.['webhook_secret'], SECRET)
})
