import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callTransbank, ONECLICK, PLAIN, startTransbank } from './test-transbank.ts'
import type { Answer } from './test-transbank.ts'

test('the books are filtered by provider, account and reference, with totals over all that matches', async (t) => {
  const { sandbox, webpay, create, pay } = await startTransbank(t)
  for (const order of ['order-1', 'order-2', 'order-2']) {
    const { token } = await create(order)
    await pay(token, 'approve')
    await webpay.commit(token)
    if (order === 'order-1') await webpay.refund(token, 4_000)
  }
  const ledger = async (query: string) =>
    (await sandbox.control('GET', `/ledger?${query}`)) as {
      total: number
      totals: Record<string, Answer>
      entries: Answer[]
    }
  const all = await ledger('limit=1')
  assert.deepEqual([all.total, all.entries.length], [4, 1])
  assert.equal(all.totals['order-1']?.['refunded'], 4_000)
  assert.deepEqual([all.totals['order-2']?.['charges'], all.totals['order-2']?.['charged']], [2, 20_000])
  assert.deepEqual(Object.keys((await ledger('reference=order-2')).totals), ['order-2'])
  assert.equal((await ledger(`account=${PLAIN}`)).total, 4)
  assert.equal((await ledger(`account=${ONECLICK}`)).total, 0)
  assert.equal((await ledger('provider=stripe')).total, 0)
})

test('payment faults are listed, count down and end', async (t) => {
  const { sandbox, create } = await startTransbank(t)
  const rules = async () =>
    (await sandbox.control('GET', '/payment-faults')) as { rules: Answer[]; names: Answer }
  const rule = { provider: 'transbank', fault: 'transient', operation: 'checkout', times: 2 }
  await sandbox.control('POST', '/payment-faults', rule)
  const { id } = await sandbox.control('POST', '/payment-faults', { ...rule, fault: 'hang', reference: 'x' })
  await assert.rejects(create())
  const before = await rules()
  assert.ok(Object.hasOwn(before.names, 'reset_after'))
  assert.deepEqual(
    before.rules.map(({ times }) => times),
    [1, 2],
  )
  await sandbox.control('DELETE', `/payment-faults/${String(id)}`)
  await assert.rejects(create())
  assert.deepEqual((await rules()).rules, [])
  await create()
  await assert.rejects(
    sandbox.control('POST', '/payment-faults', { ...rule, fault: 'nonsense' }),
    /422.*must be one of/,
  )
})

test('open pay pages are listed newest first, shown on the page, and gone once paid or expired', async (t) => {
  const { sandbox, webpay, create, pay, advance } = await startTransbank(t)
  const [first, second] = [await create('order-1'), await create('order->2', 24_990)]
  const listed = async () => ((await sandbox.control('GET', '/pay')) as { pages: Answer[] }).pages
  assert.deepEqual(
    (await listed()).map(({ reference, amount, path }) => [reference, amount, path]),
    [
      ['order->2', 24_990, `/transbank/webpayserver/initTransaction?token_ws=${second.token}`],
      ['order-1', 10_000, `/transbank/webpayserver/initTransaction?token_ws=${first.token}`],
    ],
  )
  await pay(first.token, 'approve')
  await webpay.commit(first.token)
  await webpay.refund(first.token, 2_500)
  const panel = async () => {
    const text = await (await fetch(sandbox.url)).text()
    return text.slice(text.indexOf('id="payments"'), text.indexOf('id="callbacks"'))
  }
  const shown = await panel()
  assert.match(shown, /order-&gt;2/)
  assert.match(shown, /href="\/transbank\/webpayserver\/initTransaction\?token_ws=/)
  assert.match(shown, /<b>charged<\/b>[^]*<b>refunded<\/b> \$2\.500/)
  await advance(11 * 60_000)
  assert.deepEqual(await listed(), [])
  assert.ok(!(await panel()).includes('href='))
})

test('a reset forgets payments and faults and sets the clock back, and keeps the accounts', async (t) => {
  const { sandbox, webpay, create, pay, advance } = await startTransbank(t)
  const { token } = await create()
  await pay(token, 'approve')
  await webpay.commit(token)
  const { now, clock_offset_ms: offset } = await advance(3_600_000)
  assert.equal(offset, 3_600_000)
  assert.ok(Date.parse(String(now)) - Date.now() > 3_500_000)
  await sandbox.control('POST', '/payment-faults', { provider: 'transbank', fault: 'hang' })
  const accountsOf = async () =>
    ((await sandbox.control('GET', '/accounts')) as { accounts: Answer[] }).accounts.map(
      ({ account }) => account,
    )
  await sandbox.control('POST', '/reset', {})
  const { total } = await sandbox.control('GET', '/ledger')
  const { rules } = await sandbox.control('GET', '/payment-faults')
  const { clock_offset_ms: restored } = await sandbox.control('GET', '/settings')
  assert.deepEqual([total, rules, restored, await accountsOf()], [0, [], 0, [PLAIN]])
  await assert.rejects(webpay.status(token), /Transaction not found/)
  await sandbox.control('POST', '/reset', { accounts: true })
  assert.deepEqual(await accountsOf(), [])
})

test('wrong input is told with the field it is about', async (t) => {
  const { sandbox } = await startTransbank(t)
  const tries: Array<[path: string, body: Answer, told: RegExp]> = [
    ['/pay', { provider: 'paypal', id: '1', choice: 'approve' }, /"field":"provider"/],
    ['/pay', { provider: 'transbank', id: '1', choice: 'approve' }, /no such page/],
    ['/pay', { provider: 'transbank', id: '1', choice: 'steal' }, /"field":"choice"/],
    ['/act', { provider: 'transbank', action: 'dance' }, /refund, decline_next and remove_card/],
    ['/clock', { advance_ms: -1 }, /"field":"advance_ms"/],
  ]
  for (const [path, body, told] of tries) await assert.rejects(sandbox.control('POST', path, body), told)
  await assert.rejects(sandbox.control('PUT', '/accounts/transbank/shop', {}), /commerce code of 12 digits/)
  await assert.rejects(
    sandbox.control('PUT', `/accounts/transbank/${PLAIN}`, { currency: 'EUR' }),
    /currency/,
  )
})

test('secrets and card numbers of requests are not kept in the log', async (t) => {
  const { sandbox } = await startTransbank(t)
  const json = JSON.stringify({ client_secret: 'fake-one', card_number: 'fake-two', amount: 1 })
  const form = 'a=1&client_secret=fake-three&card%5Bnumber%5D=fake-four&b=2'
  for (const body of [json, form]) await callTransbank(sandbox, 'POST', 'webpay/v1.2/transactions', { body })
  const { requests } = (await sandbox.control('GET', '/requests')) as { requests: Array<{ body: string }> }
  assert.deepEqual(
    requests.map(({ body }) => body),
    [
      '{"client_secret":"***","card_number":"***","amount":1}',
      'a=1&client_secret=***&card%5Bnumber%5D=***&b=2',
    ],
  )
})
