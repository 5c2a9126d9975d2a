import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callTransbank, KEY, PLAIN, refusal, RETURN_URL, startTransbank } from './test-transbank.ts'
import type { Answer } from './test-transbank.ts'

test('requests are held to the contract: fields, amounts of the currency, JSON, paths, methods', async (t) => {
  const { sandbox, webpay } = await startTransbank(t)
  const good = { buy_order: 'a', session_id: 's', amount: 1_000, return_url: RETURN_URL }
  const create = async (change: Answer, init: RequestInit = {}) => {
    const body = JSON.stringify({ ...good, ...change })
    const { status, text } = await callTransbank(sandbox, 'POST', 'webpay/v1.2/transactions', {
      body,
      ...init,
    })
    return `${status} ${((JSON.parse(text) as Answer)['error_message'] as string | undefined) ?? ''}`
  }
  const invalid = (name: string) => `422 Invalid value for parameter: ${name}`
  assert.equal(await create({}), '200 ')
  assert.equal(await create({ amount: undefined }), '422 amount is required!')
  for (const amount of [10.5, '1000', 0, -1]) assert.equal(await create({ amount }), invalid('amount'))
  assert.equal(await create({ buy_order: 'x'.repeat(27) }), invalid('buy_order'))
  assert.equal(await create({ buy_order: 'a b' }), invalid('buy_order'))
  assert.equal(await create({ session_id: 'x'.repeat(62) }), invalid('session_id'))
  assert.equal(await create({ return_url: 'shop.example' }), invalid('return_url'))
  assert.equal(await create({ extra: 1 }), '400 Unrecognized field: extra')
  assert.equal(await create({}, { body: '{' }), '400 Invalid JSON')
  assert.equal(await create({}, { headers: { 'content-type': 'text/plain' } }), '415 Unsupported Media Type')
  await sandbox.control('PUT', `/accounts/transbank/${PLAIN}`, { currency: 'USD' })
  assert.equal(await create({ amount: 10.99 }), '200 ')
  assert.equal(await create({ amount: 10.999 }), invalid('amount'))
  assert.equal((await callTransbank(sandbox, 'GET', 'webpay/v1.2/nothing')).status, 404)
  assert.equal((await callTransbank(sandbox, 'DELETE', 'webpay/v1.2/transactions')).status, 405)
  assert.equal(await refusal(webpay.status('xyz')), invalid('token'))
  assert.equal(await refusal(webpay.status('0'.repeat(64))), '422 Transaction not found')
})

test('credentials are checked, and a commerce sees neither other products nor other commerces', async (t) => {
  const { sandbox, create } = await startTransbank(t)
  const { token } = await create()
  const ask = async (code: string, apiKey: string, product = `webpay/v1.2/transactions/${token}`) => {
    const headers = { 'tbk-api-key-id': code, 'tbk-api-key-secret': apiKey }
    const { status, text } = await callTransbank(sandbox, 'GET', product, { headers })
    return `${status} ${((JSON.parse(text) as Answer)['error_message'] as string | undefined) ?? ''}`
  }
  const refused = '401 Not Authorized'
  assert.equal(await ask(PLAIN, KEY), '200 ')
  assert.equal(await ask(PLAIN, 'fake-other-key'), refused)
  assert.equal(await ask('shop', KEY), refused)
  assert.equal(await ask('597099999999', 'fake-invalid-key'), refused)
  assert.equal(await ask('597099999999', 'fake-key'), '422 Transaction not found', 'opens an account')
  assert.equal(await ask('597099999999', 'fake-second-key'), refused)
  assert.equal(await ask(PLAIN, KEY, 'oneclick/v1.2/transactions/order-1'), refused)
  const { requests } = (await sandbox.control('GET', '/requests')) as {
    requests: Array<{ headers: Record<string, string> }>
  }
  assert.ok(requests.length > 5)
  for (const { headers } of requests) assert.equal(headers['tbk-api-key-secret'], '***')
})
