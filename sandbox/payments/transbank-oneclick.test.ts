import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { Oneclick, TransactionDetail } from 'transbank-sdk'
import {
  callTransbank,
  charged,
  HOUR_MS,
  ONECLICK,
  optionsFor,
  refusal,
  startTransbank,
} from './test-transbank.ts'
import type { Answer } from './test-transbank.ts'

const SHOP = '597055555542'
const OTHER_SHOP = '597055555543'
const RESPONSE_URL = 'https://shop.example/cards?method=pm_1'

async function start(t: TestContext, code = ONECLICK) {
  const { sandbox, pay, advance, totalsOf } = await startTransbank(t)
  const inscriptions = new Oneclick.MallInscription(optionsFor(sandbox, code))
  const payments = new Oneclick.MallTransaction(optionsFor(sandbox, code))
  const begin = async (username = 'ana') =>
    (await inscriptions.start(username, 'ana@example.com', RESPONSE_URL)) as {
      token: string
      url_webpay: string
    }
  const enrol = async (username = 'ana') => {
    const { token } = await begin(username)
    await pay(token, 'approve')
    return String(((await inscriptions.finish(token)) as Answer)['tbk_user'])
  }
  const charge = async (tbkUser: string, order = 'order-1', ...details: TransactionDetail[]) => {
    const parts = details.length > 0 ? details : [new TransactionDetail(5_000, SHOP, `c-${order}`)]
    return (await payments.authorize('ana', tbkUser, order, parts)) as { details: Answer[] } & Answer
  }
  return { sandbox, pay, advance, totalsOf, inscriptions, payments, begin, enrol, charge }
}

const endsOf = ({ details }: { details: Answer[] }) =>
  details.map((detail) => `${String(detail['status'])} ${String(detail['response_code'])}`)

test('the SDK saves a card, charges it, reads the payment and removes the card', async (t) => {
  const { sandbox, pay, totalsOf, inscriptions, payments, begin, charge } = await start(t)
  const { token, url_webpay: url } = await begin()
  assert.equal(url, `${sandbox.url}/transbank/webpayserver/bp_inscription.cgi`)
  assert.equal(await refusal(inscriptions.finish(token)), '422 Inscription is unfinished')
  const step = { method: 'GET', url: RESPONSE_URL, fields: { TBK_TOKEN: token } }
  assert.deepEqual(await pay(token, 'approve'), { state: 'enrolled', next: step })
  const {
    tbk_user: tbkUser,
    authorization_code: code,
    ...card
  } = (await inscriptions.finish(token)) as Answer
  assert.match(`${String(tbkUser)} ${String(code)}`, /^[0-9a-f-]{36} \d{6}$/)
  assert.deepEqual(card, { response_code: 0, card_type: 'Visa', card_number: 'XXXXXXXXXXXX6623' })
  assert.equal(await refusal(inscriptions.finish(token)), '422 Inscription not found')
  const paid = await charge(String(tbkUser))
  const { accounting_date: day, transaction_date: date, details, ...rest } = paid
  assert.equal(String(day), String(date).slice(5, 10).replace('-', ''))
  assert.deepEqual(rest, { buy_order: 'order-1', card_detail: { card_number: '6623' } })
  const [{ authorization_code: authorization, ...detail }] = details as [Answer]
  assert.match(String(authorization), /^\d{6}$/)
  assert.deepEqual(detail, {
    amount: 5_000,
    status: 'AUTHORIZED',
    payment_type_code: 'VN',
    response_code: 0,
    installments_number: 0,
    commerce_code: SHOP,
    buy_order: 'c-order-1',
  })
  const told = (await payments.status('order-1')) as { details: Answer[] }
  assert.deepEqual(told, { ...paid, details: [{ ...details[0], balance: 5_000 }] })
  assert.deepEqual(await totalsOf(), charged(5_000))
  const bin = (await new Oneclick.MallBinInfo(optionsFor(sandbox, ONECLICK)).queryBin(
    String(tbkUser),
  )) as Answer
  assert.deepEqual(bin, { bin_issuer: 'TEST COMMERCE BANK', bin_payment_type: 'Credito', bin_brand: 'Visa' })
  assert.equal(await inscriptions.delete(String(tbkUser), 'ana'), true)
  assert.equal(await refusal(inscriptions.delete(String(tbkUser), 'ana')), '404 Inscription not found')
  assert.deepEqual(endsOf(await charge(String(tbkUser), 'order-2')), ['FAILED -96'])
  assert.equal(await refusal(payments.status('order-9')), '422 Transaction not found')
})

test('an inscription that was declined, given up or left alone gives no card', async (t) => {
  const { pay, advance, inscriptions, begin } = await start(t)
  const plain = (token: string) => ({ method: 'GET', url: RESPONSE_URL, fields: { TBK_TOKEN: token } })
  for (const [choice, state] of [
    ['decline', 'declined'],
    ['time_out', 'timed_out'],
    ['abort', 'aborted'],
  ] as const) {
    const { token } = await begin()
    const aborted = { TBK_TOKEN: token, TBK_ORDEN_COMPRA: token.slice(0, 26), TBK_ID_SESION: 'ana' }
    const next = choice === 'abort' ? { method: 'POST', url: RESPONSE_URL, fields: aborted } : plain(token)
    assert.deepEqual(await pay(token, choice), { state, next })
    assert.deepEqual(await inscriptions.finish(token), { response_code: -1 })
  }
  const refused = await begin()
  await pay(refused.token, 'approve', { card: '5186059559590568' })
  assert.deepEqual(await inscriptions.finish(refused.token), { response_code: -1 })
  const left = await begin()
  await advance(11 * 60_000)
  assert.deepEqual(await pay(left.token, 'approve'), { state: 'timed_out', next: plain(left.token) })
  const late = await begin()
  await pay(late.token, 'approve')
  await advance(61_000)
  assert.equal(await refusal(inscriptions.finish(late.token)), '422 Inscription not found')
})

test('a customer has one card: a new inscription ends the one before', async (t) => {
  const { enrol, charge, totalsOf } = await start(t)
  const before = await enrol()
  const other = await enrol('ben')
  const now = await enrol()
  assert.deepEqual(endsOf(await charge(before)), ['FAILED -96'])
  assert.deepEqual(endsOf(await charge(other)), ['FAILED -96'], 'the card of another user')
  assert.equal(await totalsOf(), undefined)
  assert.deepEqual(endsOf(await charge(now)), ['AUTHORIZED 0'])
})

test('coming charges of a card are declined as told, of all shops or of one', async (t) => {
  const { sandbox, enrol, charge, totalsOf } = await start(t)
  const tbkUser = await enrol()
  const decline = (extra: Answer) =>
    sandbox.control('POST', '/act', {
      provider: 'transbank',
      action: 'decline_next',
      tbk_user: tbkUser,
      ...extra,
    })
  await decline({ response_code: -97, times: 2 })
  assert.deepEqual(endsOf(await charge(tbkUser)), ['FAILED -97'])
  assert.deepEqual(endsOf(await charge(tbkUser)), ['FAILED -97'])
  assert.equal(await totalsOf(), undefined)
  assert.deepEqual(endsOf(await charge(tbkUser)), ['AUTHORIZED 0'])
  await decline({ response_code: -11, times: null, commerce_code: OTHER_SHOP })
  const parts = [new TransactionDetail(1_000, SHOP, 'c-1'), new TransactionDetail(2_000, OTHER_SHOP, 'c-2')]
  assert.deepEqual(endsOf(await charge(tbkUser, 'order-2', ...parts)), ['AUTHORIZED 0', 'FAILED -11'])
  assert.deepEqual(await totalsOf('order-2'), charged(1_000))
  await decline({ response_code: null })
  assert.deepEqual(endsOf(await charge(tbkUser, 'order-3', ...parts)), ['AUTHORIZED 0', 'AUTHORIZED 0'])
  await sandbox.control('POST', '/act', { provider: 'transbank', action: 'remove_card', tbk_user: tbkUser })
  assert.deepEqual(endsOf(await charge(tbkUser, 'order-4')), ['FAILED -96'])
})

test('a repeated order is charged again, unless the account refuses it', async (t) => {
  const { sandbox, enrol, charge, totalsOf } = await start(t)
  const tbkUser = await enrol()
  await charge(tbkUser)
  await charge(tbkUser)
  assert.deepEqual(await totalsOf(), charged(10_000, { charges: 2 }))
  await sandbox.control('PUT', `/accounts/transbank/${ONECLICK}`, { unique_orders: true })
  assert.equal(await refusal(charge(tbkUser)), '422 Transaction already exists')
  assert.deepEqual(await totalsOf(), charged(10_000, { charges: 2 }))
})

test('a shop’s part is refunded by its own order, reversed within three hours', async (t) => {
  const { advance, enrol, charge, payments, totalsOf } = await start(t)
  const tbkUser = await enrol()
  await charge(tbkUser)
  const unknown = '422 Invalid value for parameter: Transaction Detail not found'
  assert.equal(await refusal(payments.refund('order-1', OTHER_SHOP, 'c-order-1', 1_000)), unknown)
  assert.equal(
    await refusal(payments.refund('order-9', SHOP, 'c-order-1', 1_000)),
    '422 Transaction not found',
  )
  const first = (await payments.refund('order-1', SHOP, 'c-order-1', 1_000)) as Answer
  assert.deepEqual([first['type'], first['balance']], ['NULLIFIED', 4_000])
  const { details } = (await payments.status('order-1')) as { details: Answer[] }
  assert.deepEqual([details[0]!['status'], details[0]!['balance']], ['PARTIALLY_NULLIFIED', 4_000])
  assert.deepEqual(await totalsOf(), charged(5_000, { refunded: 1_000, refunds: 1 }))
  await charge(tbkUser, 'order-2')
  await advance(2 * HOUR_MS)
  assert.deepEqual(await payments.refund('order-2', SHOP, 'c-order-2', 5_000), { type: 'REVERSED' })
  await advance(7 * 24 * HOUR_MS)
  assert.match(await refusal(payments.status('order-2')), /^422 .*max time/)
})

test('a deferred commerce captures at the address of the SDK and at that of the papers', async (t) => {
  const code = '597055555547'
  const { sandbox, enrol, charge, payments, totalsOf } = await start(t, code)
  const shop = '597055555548'
  const tbkUser = await enrol()
  const first = await charge(tbkUser, 'order-1', new TransactionDetail(5_000, shop, 'c-1'))
  assert.deepEqual(await totalsOf(), charged(0, { authorized: 5_000, charges: 0 }))
  const authorization = String(first.details[0]!['authorization_code'])
  assert.equal(await refusal(payments.capture(shop, 'c-1', 'x', 4_000)), '422 Transaction not found')
  const captured = (await payments.capture(shop, 'c-1', authorization, 4_000)) as Answer
  assert.deepEqual(
    [captured['captured_amount'], captured['response_code'], captured['token']],
    [4_000, 0, undefined],
  )
  assert.deepEqual(endsOf((await payments.status('order-1')) as { details: Answer[] }), ['CAPTURED 0'])
  assert.deepEqual(await totalsOf(), charged(4_000, { authorized: 5_000 }))
  const second = await charge(tbkUser, 'order-2', new TransactionDetail(5_000, shop, 'c-2'))
  const body = JSON.stringify({
    commerce_code: shop,
    buy_order: 'c-2',
    capture_amount: 5_000,
    authorization_code: second.details[0]!['authorization_code'],
  })
  const headers = { 'tbk-api-key-id': code }
  const path = 'oneclick/mall/v1.2/transactions/capture'
  assert.equal((await callTransbank(sandbox, 'PUT', path, { headers, body })).status, 200)
  assert.deepEqual(await totalsOf('order-2'), charged(5_000, { authorized: 5_000 }))
})
