import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Customer, User } from 'mercadopago'
import { causeOf, startSeller, TOKEN } from './mercadopago-test-seller.ts'

test('customers keep cards, and each charge of one takes a token of its own', async (t) => {
  const { config, call, pay } = await startSeller(t)
  const customer = await new Customer(config()).create({
    body: { email: 'ana@example.com', first_name: 'Ana' },
  })
  const twice = await call('POST', '/v1/customers', { email: 'ana@example.com' })
  assert.deepEqual([twice.status, causeOf(twice)], [400, '101'])
  const found = await new Customer(config()).search({ options: { email: 'ana@example.com' } })
  assert.deepEqual(
    found.results?.map(({ id }) => id),
    [customer.id],
  )
  const cards = `/v1/customers/${customer.id!}/cards`
  const card = await call('POST', cards, { token: 'tok_apro_fund' })
  assert.deepEqual([card.status, card.body['last_four_digits']], [201, '7115'])
  const charge = async () => {
    const token = await call('POST', '/v1/card_tokens', { card_id: card.body['id'], security_code: '123' })
    return pay({ token: token.body['id'], payer: { type: 'customer', id: customer.id } })
  }
  assert.equal((await charge()).body['status'], 'approved')
  const stranger = { authorization: 'Bearer TEST-other-seller' }
  assert.equal((await call('POST', '/v1/card_tokens', { card_id: card.body['id'] }, stranger)).status, 404)
  assert.equal((await charge()).body['status_detail'], 'cc_rejected_insufficient_amount')
  const token = await call('POST', '/v1/card_tokens', { card_id: card.body['id'] })
  assert.equal(causeOf(await pay({ token: token.body['id'] })), 2002)
  const removed = await new Customer(config()).removeCard({
    customerId: customer.id!,
    cardId: String(card.body['id']),
  })
  assert.equal(removed.id, card.body['id'])
  assert.equal((await call('POST', '/v1/card_tokens', { card_id: card.body['id'] })).status, 404)
})

test('the doctor learns whose token it is, and access taken away stays away', async (t) => {
  const { config, call, sandbox } = await startSeller(t, { site_id: 'MLA', test_user: true })
  const user = await new User(config()).get()
  assert.deepEqual([user.site_id, user.country_id, user.tags?.includes('test_user')], ['MLA', 'AR', true])
  const real = { authorization: 'Bearer APP_USR-1234567890-072916-abcdef-261735089' }
  const known = await call('GET', '/users/me', undefined, real)
  assert.equal(known.body['id'], 261_735_089)
  assert.equal((await call('GET', '/users/me', undefined, { authorization: 'Bearer sk_test_1' })).status, 401)
  assert.equal((await call('GET', '/users/me', undefined, { authorization: '' })).status, 403)
  await sandbox.control('POST', '/act', { provider: 'mercadopago', action: 'unlink', account: TOKEN })
  assert.equal((await call('GET', '/users/me')).body['code'], 'PA_UNAUTHORIZED_RESULT_FROM_POLICIES')
})

test('OAuth gives tokens for a code, once, and new ones for a refresh token', async (t) => {
  const { call } = await startSeller(t)
  const client = { client_id: '123', client_secret: 'fake-secret' }
  const code = {
    ...client,
    grant_type: 'authorization_code',
    code: 'TG-tenant-a',
    redirect_uri: 'https://x.example',
  }
  const granted = await call('POST', '/oauth/token', code)
  assert.match(String(granted.body['access_token']), /^APP_USR-/)
  assert.equal((await call('POST', '/oauth/token', code)).body['error'], 'invalid_grant')
  const refresh = { ...client, grant_type: 'refresh_token', refresh_token: granted.body['refresh_token'] }
  const renewed = await call('POST', '/oauth/token', refresh)
  assert.equal(renewed.body['user_id'], granted.body['user_id'])
  const me = await call('GET', '/users/me', undefined, {
    authorization: `Bearer ${String(renewed.body['access_token'])}`,
  })
  assert.equal(me.body['id'], granted.body['user_id'])
})
