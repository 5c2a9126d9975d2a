import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { stripe } from './stripe.ts'
import { wantedTopics } from './stripe-webhook.ts'
import { createError, listOf, secretKey, startDesk } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context
const url = context().webhookUrl
const endpoint = { id: 'we_1', url, status: 'enabled', enabled_events: wantedTopics }
const good = {
  'GET /v1/payment_intents': listOf([]),
  'GET /v1/account': { id: 'acct_1', charges_enabled: true },
  'GET /v1/webhook_endpoints': listOf([{ ...endpoint, url: 'https://other.example.com' }, endpoint]),
}

type Plan = Parameters<typeof desk.answers>[0]

async function check(plan: Plan, credentials: Record<string, unknown> = {}) {
  desk.answers({ ...good, ...plan })
  const { ok, notes } = await stripe.check(context(credentials))
  assert.ok(
    notes.every((note) => /^(Stripe: .*|[A-Z].*[.])$/.test(note)),
    JSON.stringify(notes),
  )
  return { ok, notes: notes.join('\n') }
}

test('all is well, and the mode is told', async () => {
  assert.deepEqual(await check({}), {
    ok: true,
    notes:
      'Stripe accepts the key.\nIt is a test key: it takes test cards only and moves no money.\nThe account is acct_1.',
  })
  assert.match((await check({}, { secretKey: 'sk_live_fake' })).notes, /live key: payments take real money/)
})

const body = createError({ message: `Invalid API Key provided: ${secretKey}` })
const rows: Array<
  [name: string, plan: Plan, credentials: Record<string, unknown>, ok: boolean, words: RegExp]
> = [
  ['a wrong key', { 'GET /v1/payment_intents': [{ status: 401, body }] }, {}, false, /Invalid API Key/],
  [
    'a restricted key that may too little',
    { 'GET /v1/payment_intents': [{ status: 403, body: createError({ message: 'No permission.' }) }] },
    { secretKey: 'rk_test_fake' },
    false,
    /needs to write PaymentIntents, Refunds/,
  ],
  [
    'a key of another platform',
    { 'GET /v1/payment_intents': [{ status: 403, body: createError({ code: 'account_invalid' }) }] },
    { account: 'acct_1' },
    false,
    /platform that acct_1 is connected to in test mode/,
  ],
  [
    'an account that may not charge',
    { 'GET /v1/account': { id: 'acct_1', charges_enabled: false } },
    {},
    false,
    /complete it/,
  ],
  [
    'a key that answers for another account',
    {},
    { account: 'acct_2' },
    false,
    /answers for acct_1, not for acct_2/,
  ],
  ['no webhook secret', {}, { webhookSecret: undefined }, true, /until webhookSecret is added/],
  [
    'no webhook',
    { 'GET /v1/webhook_endpoints': listOf([]) },
    {},
    true,
    /No webhook of Stripe reports to https:/,
  ],
  [
    'a webhook that is off',
    { 'GET /v1/webhook_endpoints': listOf([{ ...endpoint, status: 'disabled' }]) },
    {},
    true,
    /we_1 is disabled/,
  ],
  [
    'a webhook that reports too little',
    { 'GET /v1/webhook_endpoints': listOf([{ ...endpoint, enabled_events: wantedTopics.slice(1) }]) },
    {},
    true,
    new RegExp(`we_1 does not report ${wantedTopics[0]}: add them`),
  ],
  [
    'webhooks that can not be seen',
    { 'GET /v1/webhook_endpoints': [{ status: 403, body: createError({}) }] },
    {},
    true,
    /can not be seen with this key/,
  ],
  [
    'an account that can not be seen',
    { 'GET /v1/account': [{ status: 403, body: createError({}) }] },
    {},
    true,
    /accepts/,
  ],
  ['nobody there', { 'GET /v1/payment_intents': [{ status: 502, body: '<html>' }] }, {}, false, /HTTP 502/],
]
for (const [name, plan, credentials, ok, words] of rows) {
  test(`${name}: ${ok ? 'it works' : 'it does not work'}, and says so`, async () => {
    const result = await check(plan, credentials)
    assert.equal(result.ok, ok)
    assert.match(result.notes, words)
    assert.doesNotMatch(result.notes, /fake_secret_key/)
  })
}

test('a webhook for everything reports enough, and belongs to the platform', async () => {
  const all = { ...endpoint, enabled_events: ['*'] }
  const { notes } = await check({ 'GET /v1/webhook_endpoints': listOf([all]) }, { account: 'acct_1' })
  assert.doesNotMatch(notes, /webhook/)
  const asked = desk.taken().map(({ call, headers }) => [call, headers['stripe-account']])
  assert.deepEqual(asked, [
    ['GET /v1/payment_intents', 'acct_1'],
    ['GET /v1/account', 'acct_1'],
    ['GET /v1/webhook_endpoints', undefined],
  ])
})
