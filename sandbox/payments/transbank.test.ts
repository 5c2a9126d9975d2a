import assert from 'node:assert/strict'
import { test } from 'node:test'
import { charged, HOUR_MS, PLAIN, refusal, RETURN_URL, startTransbank } from './test-transbank.ts'
import type { Answer } from './test-transbank.ts'

test('the SDK creates, commits and reads a payment, and the books have one charge', async (t) => {
  const { webpay, create, pay, totalsOf, sandbox } = await startTransbank(t)
  const { token, url } = await create()
  assert.match(token, /^[0-9a-f]{64}$/)
  assert.equal(url, `${sandbox.url}/transbank/webpayserver/initTransaction`)
  const { vci, status, authorization_code: none } = (await webpay.status(token)) as Answer
  assert.deepEqual([vci, status, none], [undefined, 'INITIALIZED', undefined])
  assert.equal((await pay(token, 'approve', { installments: 3 })).state, 'paid')
  assert.equal(((await webpay.status(token)) as Answer)['status'], 'INITIALIZED', 'nothing is told before')
  const told = (await webpay.commit(token)) as Answer
  const { authorization_code: code, transaction_date: date, accounting_date: day, ...rest } = told
  assert.match(String(code), /^\d{6}$/)
  assert.equal(String(day), String(date).slice(5, 10).replace('-', ''))
  assert.deepEqual(rest, {
    vci: 'TSY',
    amount: 10_000,
    status: 'AUTHORIZED',
    buy_order: 'order-1',
    session_id: 'pay_1',
    card_detail: { card_number: '6623' },
    payment_type_code: 'SI',
    response_code: 0,
    installments_amount: 3_334,
    installments_number: 3,
  })
  assert.deepEqual(await webpay.status(token), told)
  assert.deepEqual(await totalsOf(), charged(10_000))
})

test('the customer comes back in the four ways of Webpay, as in integration or as asked for', async (t) => {
  const { create, pay } = await startTransbank(t)
  const ends = { TBK_ORDEN_COMPRA: 'order-1', TBK_ID_SESION: 'pay_1' }
  const cases: Array<[choice: string, state: string, method: string, fields: (token: string) => Answer]> = [
    ['approve', 'paid', 'GET', (token) => ({ token_ws: token })],
    ['decline', 'declined', 'GET', (token) => ({ token_ws: token })],
    ['abort_bank', 'bank_aborted', 'GET', (token) => ({ token_ws: token })],
    ['abort', 'aborted', 'POST', (token) => ({ TBK_TOKEN: token, ...ends })],
    ['time_out', 'timed_out', 'GET', () => ends],
    ['broken_form', 'broken', 'POST', (token) => ({ token_ws: token, TBK_TOKEN: token, ...ends })],
  ]
  for (const [choice, state, method, fields] of cases) {
    const { token } = await create()
    const told = { state, next: { method, url: RETURN_URL, fields: fields(token) } }
    assert.deepEqual(await pay(token, choice), told)
  }
  const { token } = await create()
  assert.deepEqual(await pay(token, 'close_tab'), { state: 'open', next: null })
  assert.equal((await pay(token, 'abort', { method: 'GET' })).next?.method, 'GET')
  await assert.rejects(pay(token, 'approve'), /the page is closed: aborted/)
})

test('a commit of what was not paid is refused in the words of Transbank, and charges nothing', async (t) => {
  const { webpay, create, pay, advance, totalsOf } = await startTransbank(t)
  const invalid = (status: number) =>
    `422 Invalid status '${status}' for transaction while authorizing. Commerce will be notified by webpay to authorize`
  const aborted = '422 Transaction has an invalid finished state: aborted'
  const cases: Array<[choice: string | null, text: string]> = [
    [null, invalid(0)],
    ['abort', invalid(10)],
    ['broken_form', invalid(10)],
    ['abort_bank', invalid(19)],
    ['time_out', aborted],
  ]
  for (const [choice, text] of cases) {
    const { token } = await create()
    if (choice) await pay(token, choice)
    assert.equal(await refusal(webpay.commit(token)), text)
    assert.equal(await refusal(webpay.commit(token)), text, 'a refused commit locks nothing')
    const { vci, response_code: code, status } = (await webpay.status(token)) as Answer
    assert.deepEqual(
      [vci, code, status],
      choice === 'abort_bank' ? ['ABO', 0, 'INITIALIZED'] : [undefined, undefined, 'INITIALIZED'],
    )
  }
  const late = await create()
  await pay(late.token, 'approve')
  await advance(11 * 60_000)
  assert.equal(await refusal(webpay.commit(late.token)), aborted)
  assert.equal(await totalsOf(), undefined)
})

test('of commits at the same time one takes the money and the others find it locked', async (t) => {
  const { sandbox, webpay, create, pay, totalsOf } = await startTransbank(t)
  const { token } = await create()
  await pay(token, 'approve')
  const slow = { provider: 'transbank', fault: 'slow', operation: 'commit', after_ms: 150, times: 1 }
  await sandbox.control('POST', '/payment-faults', slow)
  const commits = await Promise.allSettled([webpay.commit(token), webpay.commit(token), webpay.commit(token)])
  assert.deepEqual(commits.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected', 'rejected'])
  assert.equal(await refusal(webpay.commit(token)), '422 Transaction already locked by another process')
  assert.deepEqual(await totalsOf(), charged(10_000))
})

test('every test card ends as Transbank says, with the payment type of its kind', async (t) => {
  const { webpay, create, pay } = await startTransbank(t)
  const ends = new Map<string, string>()
  for (const [card, installments] of [
    ['4051885600446623', 0],
    ['4051885600446623', 2],
    ['4051885600446623', 6],
    ['370000000002032', 1],
    ['5186059559590568', 0],
    ['4051884239937763', 6],
    ['4511346660037060', 0],
    ['5186008541233829', 0],
    ['4051886000056590', 0],
    ['5186174110629480', 0],
  ] as const) {
    const { token } = await create()
    await pay(token, 'approve', { card, installments })
    const told = (await webpay.commit(token)) as Answer
    ends.set(
      `${card.slice(-4)}/${installments}`,
      ['status', 'response_code', 'payment_type_code', 'installments_number']
        .map((name) => told[name])
        .join(' '),
    )
  }
  assert.deepEqual(Object.fromEntries(ends), {
    '6623/0': 'AUTHORIZED 0 VN 0',
    '6623/2': 'AUTHORIZED 0 S2 2',
    '6623/6': 'AUTHORIZED 0 VC 6',
    '2032/1': 'AUTHORIZED 0 VN 0',
    '0568/0': 'FAILED -4 VN 0',
    '7763/6': 'AUTHORIZED 0 VD 0',
    '7060/0': 'AUTHORIZED 0 VD 0',
    '3829/0': 'FAILED -4 VD 0',
    '6590/0': 'AUTHORIZED 0 VP 0',
    '9480/0': 'FAILED -4 VP 0',
  })
})

test('declines have the response codes of the commerce’s level, and take no money', async (t) => {
  const { sandbox, webpay, create, pay, totalsOf } = await startTransbank(t)
  const first = await create()
  await assert.rejects(pay(first.token, 'decline', { reason: -11 }), /response codes of this commerce/)
  await pay(first.token, 'decline', { reason: -5 })
  const {
    status,
    response_code: code,
    authorization_code: none,
  } = (await webpay.commit(first.token)) as Answer
  assert.deepEqual([status, code, none], ['FAILED', -5, undefined])
  await sandbox.control('PUT', `/accounts/transbank/${PLAIN}`, { response_level: 2 })
  const second = await create()
  await pay(second.token, 'decline', { reason: '-11' })
  assert.equal(((await webpay.commit(second.token)) as Answer)['response_code'], -11)
  assert.equal(await refusal(webpay.refund(second.token, 10_000)), '422 Transaction is not authorized (292)')
  assert.equal(await totalsOf(), undefined)
})

test('the state of a payment is told for seven days', async (t) => {
  const { webpay, buy, advance } = await startTransbank(t)
  const { token } = await buy()
  await advance(7 * 24 * HOUR_MS - 60_000)
  assert.equal(((await webpay.status(token)) as Answer)['status'], 'AUTHORIZED')
  await advance(120_000)
  assert.match(await refusal(webpay.status(token)), /^422 .*max time \(7 days\)/)
})

test('faults play on the call and the payment that was meant, before or after the money moved', async (t) => {
  const { sandbox, webpay, create, pay, totalsOf } = await startTransbank(t)
  const { token } = await create()
  await pay(token, 'approve')
  const play = (fault: string, operation: string, extra: Answer = {}) =>
    sandbox.control('POST', '/payment-faults', {
      provider: 'transbank',
      fault,
      operation,
      times: 1,
      ...extra,
    })
  await play('transient', 'commit', { reference: 'other' })
  for (const [fault, text] of [
    ['rate_limited', '429 Too Many Requests'],
    ['transient', '500 Internal Server Error'],
    ['unauthorized', '401 Not Authorized'],
    ['server_error', '502 Unexpected error'],
  ] as const) {
    await play(fault, 'commit', { reference: 'order-1' })
    assert.equal(await refusal(webpay.commit(token)), text)
  }
  await play('reset', 'commit', { reference: 'order-1' })
  assert.match(await refusal(webpay.commit(token)), /ECONNRESET|socket hang up/)
  assert.equal(await totalsOf(), undefined, 'none of these took money or kept the lock')
  await play('reset_after', 'commit', { reference: 'order-1' })
  assert.match(await refusal(webpay.commit(token)), /ECONNRESET|socket hang up/)
  assert.deepEqual(await totalsOf(), charged(10_000))
  await play('odd_status', 'read')
  assert.equal(((await webpay.status(token)) as Answer)['status'], 'RESERVED_FOR_REVIEW')
  assert.equal(((await webpay.status(token)) as Answer)['status'], 'AUTHORIZED')
  await play('server_error_after', 'refund')
  assert.equal(await refusal(webpay.refund(token, 4_000)), '502 Unexpected error')
  assert.equal(((await webpay.status(token)) as Answer)['balance'], 6_000)
})
