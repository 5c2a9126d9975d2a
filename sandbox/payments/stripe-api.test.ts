import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Stripe from 'stripe'
import { connectStripe, failureOf, KEY, startStripe } from './stripe-test-account.ts'
import type { TestAccount } from './stripe-test-account.ts'

const form = {
  amount: '12990',
  currency: 'clp',
  confirm: 'true',
  payment_method: 'pm_card_visa',
  'allowed_payment_method_types[0]': 'card',
  'metadata[pipecore_payment_id]': 'pay_1',
}

type Answer = {
  status: number
  headers: Headers
  error: Record<string, unknown>
  body: Record<string, unknown>
}

async function send(
  { sandbox }: Pick<TestAccount, 'sandbox'>,
  path: string,
  fields: Record<string, string> | null,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const answer = await fetch(`${sandbox.url}/stripe/v1/${path}`, {
    method: fields ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${KEY}`, ...headers },
    ...(fields ? { body: new URLSearchParams(fields) } : {}),
  })
  const body = (await answer.json()) as Record<string, unknown>
  return {
    status: answer.status,
    headers: answer.headers,
    error: (body['error'] ?? {}) as Answer['error'],
    body,
  }
}

const withKey = (key: string) => ({ 'idempotency-key': key })

test('every answer names its request, the version and the account it was for', async (t) => {
  const account = await startStripe(t)
  const headers = {
    'stripe-version': '2025-01-27.acacia',
    'stripe-account': 'acct_1connected',
    ...withKey('k-1'),
  }
  const answer = await send(account, 'customers', { email: 'ana@example.com' }, headers)
  assert.match(answer.headers.get('request-id') ?? '', /^req_/)
  const echoed = ['stripe-version', 'stripe-account', 'idempotency-key'].map((name) =>
    answer.headers.get(name),
  )
  assert.deepEqual(echoed, ['2025-01-27.acacia', 'acct_1connected', 'k-1'])
})

test('the same key replays the first answer and refuses another body', async (t) => {
  const account = await startStripe(t)
  const first = await send(account, 'payment_intents', form, withKey('k-1'))
  const again = await send(account, 'payment_intents', form, withKey('k-1'))
  assert.deepEqual(again.body, first.body)
  assert.equal(again.headers.get('idempotent-replayed'), 'true')
  assert.equal(again.headers.get('original-request'), first.headers.get('request-id'))
  const other = await send(account, 'payment_intents', { ...form, amount: '5000' }, withKey('k-1'))
  assert.deepEqual([other.status, other.error['type']], [400, 'idempotency_error'])
  const declined = { ...form, payment_method: 'pm_card_chargeDeclined' }
  const no = await send(account, 'payment_intents', declined, withKey('k-2'))
  const noAgain = await send(account, 'payment_intents', declined, withKey('k-2'))
  assert.deepEqual([noAgain.status, noAgain.body], [402, no.body])
  assert.equal((await account.ledgerOf('pay_1'))?.['charges'], 1)
})

test('a request refused for its parameters leaves its key unused', async (t) => {
  const account = await startStripe(t)
  const refused = await send(account, 'payment_intents', { ...form, amount: 'mucho' }, withKey('k-1'))
  assert.deepEqual([refused.status, refused.error['code']], [400, 'parameter_invalid_integer'])
  assert.equal((await send(account, 'payment_intents', form, withKey('k-1'))).status, 200)
})

test('a key whose first call still runs is answered 409, to be tried again', async (t) => {
  const account = await startStripe(t)
  const { sandbox } = account
  await sandbox.control('POST', '/payment-faults', {
    provider: 'stripe',
    fault: 'slow',
    operation: 'create',
    after_ms: 700,
    times: 1,
  })
  const slow = send(account, 'payment_intents', form, withKey('k-1'))
  while (sandbox.world.requests.at(-1)?.answer !== 'open') await nextTurn()
  const meanwhile = await send(account, 'payment_intents', form, withKey('k-1'))
  assert.deepEqual([meanwhile.status, meanwhile.error['code']], [409, 'idempotency_key_in_use'])
  assert.equal(meanwhile.headers.get('stripe-should-retry'), 'true')
  const { body } = await slow
  assert.equal((await send(account, 'payment_intents', form, withKey('k-1'))).body['id'], body['id'])
  assert.equal((await account.ledgerOf('pay_1'))?.['charges'], 1)
})

test('an answer lost after charging is had again under its key, and charges nothing more', async (t) => {
  const account = await startStripe(t)
  for (const fault of ['reset_after', 'server_error_after']) {
    const reference = `pay_${fault}`
    const fields = { ...form, 'metadata[pipecore_payment_id]': reference }
    await account.sandbox.control('POST', '/payment-faults', {
      provider: 'stripe',
      fault,
      reference,
      times: 1,
    })
    await assert.rejects(send(account, 'payment_intents', fields, withKey(fault)))
    assert.equal((await account.ledgerOf(reference))?.['charges'], 1)
    const healed = await send(account, 'payment_intents', fields, withKey(fault))
    assert.deepEqual([healed.status, healed.body['status']], [200, 'succeeded'])
    assert.equal((await account.ledgerOf(reference))?.['charges'], 1)
  }
})

test('faults before the effect are worded as Stripe words them, and nothing happens', async (t) => {
  const account = await startStripe(t)
  const expected = { rate_limited: 429, transient: 500, unauthorized: 401 }
  for (const [fault, status] of Object.entries(expected)) {
    const rule = { provider: 'stripe', fault, operation: 'create', times: 1, retry_after: 7 }
    await account.sandbox.control('POST', '/payment-faults', rule)
    const answer = await send(account, 'payment_intents', form, withKey(`k-${fault}`))
    assert.equal(answer.status, status, fault)
    assert.equal(answer.headers.get('retry-after'), fault === 'rate_limited' ? '7' : null)
    assert.equal(typeof answer.error['message'], 'string')
  }
  assert.equal(await account.ledgerOf('pay_1'), undefined)
  assert.equal((await send(account, 'payment_intents', form, withKey('k-transient'))).status, 200)
  const { data } = await account.stripe.paymentIntents.list()
  const odd = { provider: 'stripe', fault: 'odd_status', operation: 'read', reference: 'pay_1', times: 1 }
  await account.sandbox.control('POST', '/payment-faults', odd)
  const statuses = [await read(), await read()]
  assert.deepEqual(statuses, ['under_consideration', 'succeeded'])

  async function read() {
    return (await send(account, `payment_intents/${data[0]!.id}`, null)).body['status']
  }
})

test('keys that are wrong, restricted or for another account are refused', async (t) => {
  const { sandbox } = await startStripe(t)
  const invalid = await failureOf(connectStripe(sandbox, 'sk_test_invalid1').balance.retrieve())
  assert.ok(invalid instanceof Stripe.errors.StripeAuthenticationError)
  const restricted = connectStripe(sandbox, 'rk_test_readonly_1')
  assert.equal((await restricted.balance.retrieve()).livemode, false)
  assert.equal((await failureOf(restricted.customers.create())).statusCode, 403)
  const foreign = connectStripe(sandbox, KEY, { stripeAccount: 'acct_invalid' })
  assert.ok((await failureOf(foreign.customers.create())) instanceof Stripe.errors.StripePermissionError)
  const live = await connectStripe(sandbox, 'sk_live_fakeTenantA').customers.create()
  assert.equal(live.livemode, true)
})

test('unknown, missing and impossible parameters are named', async (t) => {
  const account = await startStripe(t)
  const refusals: Array<[fields: Record<string, string>, code: string, param: string]> = [
    [{ ...form, colour: 'red' }, 'parameter_unknown', 'colour'],
    [{ currency: 'clp' }, 'parameter_missing', 'amount'],
    [{ ...form, amount: '' }, 'parameter_invalid_empty', 'amount'],
    [{ ...form, amount: '100' }, 'amount_too_small', 'amount'],
    [{ ...form, amount: '100000000' }, 'amount_too_large', 'amount'],
    [{ ...form, 'payment_method_types[]': 'card' }, 'parameter_unknown', 'payment_method_types'],
    [{ ...form, customer: 'cus_none' }, 'resource_missing', 'customer'],
  ]
  for (const [fields, code, param] of refusals) {
    const { status, error } = await send(account, 'payment_intents', fields)
    assert.deepEqual([status, error['code'], error['param']], [400, code, param])
  }
  const old = { ...form, 'payment_method_types[]': 'card' }
  delete (old as Record<string, string>)['allowed_payment_method_types[0]']
  const before = { 'stripe-version': '2025-01-27.acacia' }
  assert.equal((await send(account, 'payment_intents', old, before)).status, 200)
  assert.equal((await send(account, 'payment_intents', null, {})).status, 200)
  assert.equal((await send(account, 'nothing_here', null)).status, 404)
  const json = await fetch(`${account.sandbox.url}/stripe/v1/customers`, {
    method: 'POST',
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    body: '{}',
  })
  assert.equal(json.status, 400)
})

test('lists page by the last id and are right at once; search comes after a while', async (t) => {
  const { stripe, jump } = await startStripe(t)
  const made: string[] = []
  for (let index = 0; index < 5; index += 1) {
    const { id } = await stripe.customers.create({
      metadata: { tenant: index % 2 ? 'odd' : 'even', place: index },
    })
    made.push(id)
  }
  const first = await stripe.customers.list({ limit: 2 })
  assert.deepEqual([first.has_more, first.data.map(({ id }) => id)], [true, [made[4], made[3]]])
  const rest = await stripe.customers.list({ starting_after: made[3]!, limit: 3 })
  assert.deepEqual([rest.has_more, rest.data.map(({ id }) => id)], [false, [made[2], made[1], made[0]]])
  const all: string[] = []
  for await (const { id } of stripe.customers.list({ limit: 2 })) all.push(id)
  assert.equal(all.length, 5)
  const query = `metadata['tenant']:'even' AND created>0`
  assert.deepEqual((await stripe.customers.search({ query })).data, [])
  await jump(0.01)
  const found = await stripe.customers.search({ query, limit: 2 })
  assert.deepEqual([found.has_more, found.data.map(({ id }) => id)], [true, [made[4], made[2]]])
  const more = await stripe.customers.search({ query, limit: 2, page: found.next_page! })
  assert.deepEqual([more.has_more, more.data.map(({ id }) => id)], [false, [made[0]]])
  await stripe.customers.update(made[0]!, { metadata: { tenant: 'moved' } })
  const moved = await stripe.customers.search({ query: `metadata["tenant"]:"moved"` })
  assert.deepEqual(
    moved.data.map(({ id }) => id),
    [made[0]],
  )
  assert.equal((await stripe.customers.search({ query })).data.length, 2)
  assert.equal((await failureOf(stripe.customers.search({ query: 'what is this' }))).statusCode, 400)
})

test('after a reset nothing is left but the account and its webhook', async (t) => {
  const account = await startStripe(t)
  await send(account, 'payment_intents', form, withKey('k-1'))
  await account.sandbox.control('POST', '/reset', {})
  assert.deepEqual((await account.stripe.paymentIntents.list()).data, [])
  const { body } = await send(account, 'payment_intents', { ...form, amount: '5000' }, withKey('k-1'))
  assert.equal(body['amount_received'], 5_000)
  await account.waitForEvents('payment_intent.succeeded')
})
