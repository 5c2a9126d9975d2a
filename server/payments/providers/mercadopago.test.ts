import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { mercadopago } from './mercadopago.ts'
import type { PaymentCommand } from './provider.ts'
import { createCheckoutCommand, createPaymentCommand, createRef, type Double } from './testing/mercadopago.ts'
import { errorOf, payment, preferenceId, readCredentials, savedChoice } from './testing/mercadopago.ts'
import { paymentId, snapshotOf, startDouble, webhookUrl } from './testing/mercadopago.ts'

let double: Double

before(async () => void (double = await startDouble()))
after(() => double.close())
beforeEach(() => double.reset())

function pay(changes: Partial<PaymentCommand> = {}, account: Record<string, unknown> = {}) {
  return mercadopago.createPayment?.(createPaymentCommand(changes), double.context(account))
}

describe('amounts', () => {
  const account = { currency: undefined }

  test('go out in major units, and whole where MercadoPago takes no fraction', async () => {
    double.on('POST /v1/payments', { status: 201, body: payment() })
    double.on('GET /users/me', { id: 1 })
    const amounts: Array<[currency: string, minor: number, wire: number]> = [
      ['CLP', 12_990, 12_990],
      ['COP', 1_299_000, 12_990],
      ['PYG', 50_000, 50_000],
      ['HNL', 12_300, 123],
      ['NIO', 12_300, 123],
      ['BRL', 5_880, 58.8],
      ['ARS', 1_000_001, 10_000.01],
      ['MXN', 110, 1.1],
      ['PEN', 29, 0.29],
      ['UYU', 101, 1.01],
      ['USD', 1_999, 19.99],
    ]
    for (const [currency, amount, wire] of amounts) {
      await pay({ amount, currency }, account)
      const body = double.calls.at(-1)?.body as Record<string, unknown> | undefined
      assert.equal(body?.transaction_amount, wire)
    }
  })

  test('that MercadoPago can not carry are refused before any call', async () => {
    for (const [amount, currency] of [
      [1_299_050, 'COP'],
      [1_234, 'HNL'],
      [100, 'KWD'],
    ] as const) {
      const { outcome, kind } = errorOf(await pay({ amount, currency }, account))
      assert.deepEqual([outcome, kind], ['refused', 'content'])
    }
    const ref = createRef({ currency: 'COP', amount: 1_299_000 })
    const part = { refundId: 'rfd_1', amount: 1_050, isFull: false, key: 'k' }
    assert.equal(errorOf(await mercadopago.refund(ref, part, double.context())).kind, 'content')
    assert.equal(errorOf(await mercadopago.capture?.(ref, 1_050, 'k', double.context())).kind, 'content')
    assert.equal(double.calls.length, 0)
  })

  test('of a page are refused by the item that does not fit', () => {
    const items = [
      { title: 'a', quantity: 1, unitAmount: 1_000 },
      { title: 'b', quantity: 2, unitAmount: 1_050 },
    ]
    const command = createCheckoutCommand({ currency: 'COP', amount: 3_100, items })
    const [error, ...others] = mercadopago.checkPayment?.(command, readCredentials()) ?? []
    assert.equal(error?.field, 'items.1.unit_amount')
    assert.match(error.message, /COP 10\.50/)
    assert.equal(others.length, 0)
  })
})

describe('a direct payment is charged in the currency of the account', () => {
  test('so another is refused before it is charged, by the setting or by asking', async () => {
    double.on('POST /v1/payments', { status: 201, body: payment() })
    double.on('GET /users/me', { id: 1, site_id: 'MLC' })
    const asked = errorOf(await pay({ amount: 5_000, currency: 'USD' }, { currency: undefined }))
    const set = errorOf(await pay({ amount: 5_000, currency: 'USD' }, { currency: 'CLP' }))
    for (const { outcome, kind, message } of [asked, set]) {
      assert.deepEqual([outcome, kind], ['refused', 'config'])
      assert.match(message, /charges in CLP/)
    }
    assert.deepEqual(
      double.calls.map(({ method, target }) => `${method} ${target}`),
      ['GET /users/me'],
    )
    const errors = mercadopago.checkPayment?.(createPaymentCommand({ currency: 'USD' }), readCredentials())
    assert.deepEqual(
      errors?.map(({ field }) => field),
      ['currency'],
    )
  })

  test('and nothing is charged while that can not be asked', async () => {
    double.on('GET /users/me', { status: 502, body: '<html>Bad Gateway</html>' })
    const { outcome, retry } = errorOf(await pay({}, { currency: undefined }))
    assert.deepEqual([outcome, retry], ['refused', 'backoff'])
    assert.equal(double.calls.length, 1)
  })

  test('a country that we do not know is left to MercadoPago', async () => {
    double.on('GET /users/me', { id: 1, site_id: 'MXX' })
    double.on('POST /v1/payments', { status: 201, body: payment() })
    assert.equal(snapshotOf(await pay({}, { currency: undefined })).status, 'confirmed')
  })
})

describe('what can be told beforehand', () => {
  test('the e-mail address of who pays by a new card', () => {
    const command = createPaymentCommand({ customer: {} })
    const errors = mercadopago.checkPayment?.(command, readCredentials())
    assert.deepEqual(
      errors?.map(({ field }) => field),
      ['customer.email'],
    )
    const saved = createPaymentCommand({ customer: {}, method: savedChoice })
    assert.deepEqual(mercadopago.checkPayment?.(saved, readCredentials()), [])
  })

  test('that its page holds no money', () => {
    const command = createCheckoutCommand({ capture: 'manual' })
    const errors = mercadopago.checkPayment?.(command, readCredentials())
    assert.deepEqual(
      errors?.map(({ field }) => field),
      ['capture'],
    )
  })

  test('faults of credentials, all at once, and never a default that opens', () => {
    const given = { accessToken: 'sk_live_1', webhookMode: 'off', refundWindowDays: 0, key: 'x' }
    const { error } = mercadopago.credentials.safeParse(given)
    const fields = error?.issues.flatMap((one) => (one.code === 'unrecognized_keys' ? one.keys : one.path))
    assert.deepEqual(fields?.toSorted(), ['accessToken', 'key', 'refundWindowDays', 'webhookMode'])
    assert.equal(mercadopago.credentials.safeParse({ accessToken: 'TEST-a b' }).success, false)
    assert.equal(readCredentials().webhookMode, 'strict')
  })

  test('windows are 180 and 5 days unless the connection says other', () => {
    assert.deepEqual(mercadopago.windows(readCredentials()), { refundDays: 180, captureDays: 5 })
    const account = readCredentials({ refundWindowDays: 90, captureWindowDays: 7 })
    assert.deepEqual(mercadopago.windows(account), { refundDays: 90, captureDays: 7 })
  })
})

describe('the doctor', () => {
  async function ask(account: Record<string, unknown>, answer: Record<string, unknown>) {
    double.on('GET /users/me', { body: answer })
    const { ok, notes } = await mercadopago.check(double.context(account))
    return { ok, text: notes.join(' ') }
  }

  test('names the account, its country and its mode', async () => {
    const own = { id: 44_444, nickname: 'MESA', site_id: 'MLC', tags: ['normal'] }
    const test = await ask({}, own)
    assert.equal(test.ok, true)
    assert.match(test.text, /"MESA", MLC.*test credentials: no payment moves money/)
    const live = { accessToken: 'APP_USR-fake-token' }
    assert.match((await ask(live, own)).text, /production credentials: payments move money/)
    const user = await ask(live, { ...own, tags: ['test_user'] })
    assert.match(user.text, /test user: only other test users can pay/)
    assert.ok(user.text.includes(`enter ${webhookUrl} there`))
  })

  test('tells what is missing or wrong, and what to do', async () => {
    const own = { id: 44_444, site_id: 'MLC' }
    assert.match((await ask({ webhookSecret: undefined }, own)).text, /refused until webhookSecret is added/)
    assert.match((await ask({ webhookMode: 'hint' }, own)).text, /set webhookMode to strict/)
    assert.match((await ask({ currency: undefined }, own)).text, /set currency to CLP to spare a call/)
    const other = await ask({ currency: 'COP' }, own)
    assert.equal(other.ok, false)
    assert.match(other.text, /charges in CLP, not in COP/)
    double.on('GET /users/me', { status: 401, body: { message: 'invalid access token' } })
    assert.deepEqual(await mercadopago.check(double.context()), {
      ok: false,
      notes: ['MercadoPago: invalid access token'],
    })
  })
})

describe('a return', () => {
  const ref = createRef({ flow: 'checkout', providerCheckoutId: preferenceId })

  test('only makes us read, whatever it says', () => {
    for (const text of [
      `collection_status=approved&payment_id=1&external_reference=${paymentId}&preference_id=${preferenceId}`,
      'collection_id=null&status=null&external_reference=null&preference_id=null',
      '',
    ]) {
      assert.deepEqual(mercadopago.readReturn?.(ref, new URLSearchParams(text)), { next: 'read' })
    }
  })

  test('of another payment is none of this one', () => {
    for (const text of ['external_reference=pay_other', 'preference_id=1-other']) {
      assert.equal(mercadopago.readReturn?.(ref, new URLSearchParams(text)).next, 'refuse')
    }
  })
})
