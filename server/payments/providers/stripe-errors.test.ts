import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, describe, test } from 'node:test'
import Stripe from 'stripe'
import type { FailureCode } from '../failures.ts'
import type { Failure } from './provider.ts'
import { stripe } from './stripe.ts'
import {
  type Answer,
  createError,
  createIntent,
  createPaymentCommand,
  createRef,
  key,
} from './testing/stripe.ts'
import { expectDone, expectNotDone, secretKey, startDesk } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context

interface Fields {
  code?: string
  param?: string
  [field: string]: unknown
}

async function create(answer: Answer) {
  desk.answers({ 'POST /v1/payment_intents': [answer] })
  return stripe.createPayment?.(createPaymentCommand(), context())
}

async function refund(status: number, error: Fields, headers?: Record<string, string>) {
  desk.answers({ 'POST /v1/refunds': [{ status, body: createError(error), ...(headers && { headers }) }] })
  const command = { refundId: 'rfd_1', amount: 1_000, isFull: false, key }
  return expectNotDone(await stripe.refund(createRef(), command, context()))
}

describe('a declined card is an answer', () => {
  const untaken = { status: 'requires_payment_method', amount_received: 0, latest_charge: null }
  const decline = (reason: Fields) =>
    create({
      status: 402,
      body: createError({
        ...reason,
        payment_intent: createIntent({ ...untaken, last_payment_error: reason }),
      }),
    })

  test('with the payment it was for', async () => {
    const card = { id: 'pm_1', type: 'card', card: { brand: 'visa', last4: '9995', funding: 'debit' } }
    const code = 'insufficient_funds'
    const reason = { type: 'card_error', code: 'card_declined', decline_code: code, payment_method: card }
    const { snapshot } = expectDone(await decline(reason))
    assert.deepEqual(snapshot, {
      providerPaymentId: 'pi_1',
      status: 'failed',
      amount: 12_990,
      currency: 'CLP',
      captured: 0,
      refunded: 0,
      failure: { code, providerCode: code, retry: 'same' },
      method: { type: 'debit', brand: 'visa', last4: '9995' },
    })
  })

  test('a 402 that names no payment is a refusal', async () => {
    const body = createError({
      type: 'card_error',
      code: 'card_declined',
      message: 'Your card was declined.',
    })
    const { outcome, kind, code } = expectNotDone(await create({ status: 402, body }))
    assert.deepEqual([outcome, kind, code], ['refused', 'unknown', 'card_declined'])
  })

  const declines: Array<[declineCode: string, code: FailureCode, retry: Failure['retry']]> = [
    ['insufficient_funds', 'insufficient_funds', 'same'],
    ['lost_card', 'lost_or_stolen', 'other_method'],
    ['stolen_card', 'lost_or_stolen', 'other_method'],
    ['pickup_card', 'lost_or_stolen', 'other_method'],
    ['expired_card', 'expired_card', 'other_method'],
    ['incorrect_cvc', 'invalid_security_code', 'other_method'],
    ['incorrect_number', 'invalid_card', 'other_method'],
    ['invalid_expiry_year', 'invalid_expiry', 'other_method'],
    ['processing_error', 'processing_error', 'same'],
    ['authentication_required', 'authentication_required', 'same'],
    ['do_not_honor', 'card_declined', 'other_method'],
    ['generic_decline', 'card_declined', 'other_method'],
    ['fraudulent', 'fraud_suspected', 'other_method'],
    ['call_issuer', 'call_issuer', 'same'],
    ['card_velocity_exceeded', 'limit_exceeded', 'other_method'],
    ['duplicate_transaction', 'duplicate', 'never'],
    ['card_not_supported', 'card_disabled', 'other_method'],
    ['issuer_not_available', 'processing_error', 'same'],
    ['a_word_of_the_future', 'card_declined', 'other_method'],
  ]
  for (const [declineCode, code, retry] of declines) {
    test(`${declineCode} is ${code}`, async () => {
      const reason = { type: 'card_error', code: 'card_declined', decline_code: declineCode }
      const { snapshot } = expectDone(await decline(reason))
      assert.deepEqual(snapshot.failure, { code, providerCode: declineCode, retry })
    })
  }

  const withoutDecline: Array<[code: string, failure: FailureCode]> = [
    ['payment_intent_authentication_failure', 'authentication_failed'],
    ['payment_method_customer_decline', 'canceled_by_customer'],
    ['payment_intent_payment_attempt_expired', 'timed_out'],
    ['payment_method_provider_decline', 'unknown_reason'],
  ]
  for (const [code, failure] of withoutDecline) {
    test(`${code} without a decline code is ${failure}`, async () => {
      const { snapshot } = expectDone(await decline({ type: 'invalid_request_error', code }))
      assert.deepEqual([snapshot.failure?.code, snapshot.failure?.providerCode], [failure, code])
    })
  }

  test('what the network advises wins over the table', async () => {
    const reason = { type: 'card_error', code: 'card_declined', decline_code: 'insufficient_funds' }
    const { snapshot } = expectDone(await decline({ ...reason, advice_code: 'do_not_try_again' }))
    assert.equal(snapshot.failure?.retry, 'other_method')
  })
})

describe('errors', () => {
  const rows: Array<[status: number, error: Fields, kind: string, retry: unknown, failover: boolean]> = [
    [400, { code: 'parameter_invalid_integer', param: 'amount' }, 'content', 'never', false],
    [400, { code: 'amount_too_small' }, 'content', 'never', true],
    [400, { code: 'amount_too_large' }, 'content', 'never', true],
    [400, { code: 'payment_intent_unexpected_state' }, 'state', 'never', false],
    [400, { code: 'charge_already_captured' }, 'state', 'never', false],
    [400, { code: 'charge_already_refunded' }, 'state', 'never', false],
    [400, { code: 'charge_expired_for_capture' }, 'state', 'never', false],
    [400, { code: 'charge_disputed' }, 'state', 'never', false],
    [400, { param: 'amount', message: 'Refund amount is greater than …' }, 'state', 'never', false],
    [400, { code: 'balance_insufficient' }, 'account', 'never', false],
    [400, { code: 'testmode_charges_only' }, 'account', 'never', true],
    [401, {}, 'auth', 'never', false],
    [401, { code: 'api_key_expired' }, 'auth', 'never', false],
    [403, {}, 'auth', 'never', false],
    [403, { code: 'account_invalid' }, 'auth', 'never', false],
    [404, { code: 'resource_missing', param: 'payment_intent' }, 'config', 'never', false],
    [409, { code: 'lock_timeout' }, 'transient', { afterMs: 1_000 }, false],
    [409, {}, 'transient', { afterMs: 1_000 }, false],
    [429, { code: 'rate_limit' }, 'rate_limited', { afterMs: 2_000 }, true],
    [429, { code: 'lock_timeout' }, 'transient', { afterMs: 1_000 }, false],
  ]
  for (const [status, error, kind, retry, failover] of rows) {
    test(`HTTP ${status} ${error.code ?? error.param ?? 'without a code'} is refused as ${kind}`, async () => {
      const found = await refund(status, { message: 'No.', ...error }, { 'retry-after': '2' })
      assert.deepEqual(
        [found.outcome, found.kind, found.retry, found.failover, found.httpStatus],
        ['refused', kind, retry, failover, status],
      )
      assert.match(found.message, /^Stripe: /)
    })
  }

  test('a key in use, or used for something else, leaves the first call’s end unknown', async () => {
    const inUse = await refund(409, { type: 'idempotency_error', code: 'idempotency_key_in_use' })
    assert.deepEqual([inUse.outcome, inUse.retry], ['unknown', { afterMs: 1_000 }])
    const reused = await refund(400, { type: 'idempotency_error', message: 'Keys for idempotent requests …' })
    assert.deepEqual([reused.outcome, reused.retry], ['unknown', 'never'])
  })

  const uncertain: Array<[name: string, answer: Answer, retry: unknown]> = [
    ['500', { status: 500, body: createError({ type: 'api_error' }) }, 'backoff'],
    ['502 as HTML', { status: 502, body: '<html>Bad Gateway</html>' }, 'backoff'],
    ['408', { status: 408, body: '' }, 'backoff'],
    [
      '500 that would be answered again',
      { status: 500, body: createError({ type: 'api_error' }), headers: { 'stripe-should-retry': 'false' } },
      'never',
    ],
    ['200 without anything usable', { status: 200, body: '<html></html>' }, 'backoff'],
    ['200 about nothing', { status: 200, body: { id: 'pi_1' } }, 'backoff'],
  ]
  for (const [name, answer, retry] of uncertain) {
    test(`${name}: nobody knows whether it was carried out`, async () => {
      const found = expectNotDone(await create(answer))
      assert.deepEqual([found.outcome, found.retry, found.failover], ['unknown', retry, false])
    })
  }

  test('a 502 as HTML has a status here, which the SDK loses', async () => {
    const { httpStatus } = expectNotDone(await create({ status: 502, body: '<html>Bad Gateway</html>' }))
    assert.equal(httpStatus, 502)
    const failing = desk.sdk().paymentIntents.create({ amount: 1, currency: 'clp' })
    await assert.rejects(
      failing,
      (error) => error instanceof Stripe.errors.StripeAPIError && error.statusCode === undefined,
    )
  })

  test('a connection that broke is not tried again by itself, as the SDK does', async () => {
    let connections = 0
    const server = createServer((socket) => {
      connections += 1
      socket.once('data', () => socket.resetAndDestroy())
    })
    server.listen(0, '127.0.0.1').unref()
    await once(server, 'listening')
    after(() => server.close())
    const address = server.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    const outcome = await stripe.createPayment?.(
      createPaymentCommand(),
      context({}, { baseUrl: `http://127.0.0.1:${port}` }),
    )
    assert.deepEqual([expectNotDone(outcome).outcome, connections], ['unknown', 1])
    const sdk = new Stripe(secretKey, {
      host: '127.0.0.1',
      port,
      protocol: 'http',
      maxNetworkRetries: 0,
      telemetry: false,
    })
    await assert.rejects(sdk.paymentIntents.create({ amount: 1, currency: 'clp' }))
    assert.equal(connections, 3)
  })

  test('no secret is repeated, whatever the provider says', async () => {
    const message = `Invalid API Key provided: ${secretKey}, with ${context().credentials.webhookSecret}`
    const found = await refund(401, { message, code: secretKey })
    assert.doesNotMatch(JSON.stringify(found), /fake_secret_key|pipecore_test_secret/)
    assert.match(found.message, /Invalid API Key provided: <secretKey>/)
  })
})
