import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { Oneclick, Options, TransactionDetail, WebpayPlus } from 'transbank-sdk'
import { transbank } from './transbank.ts'
import {
  apiKey,
  approved,
  approvedShop,
  createChargeCommand,
  createCheckoutCommand,
  createRef,
  now,
  oneclickApiKey,
  order,
  paymentId,
  readAccount,
  returnUrl,
  savedCard,
  shopOrder,
  startDouble,
  token,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const { commerceCode, oneclickCommerceCode = '', oneclickChildCommerceCode: shop = '' } = readAccount()
const key = 'key_1'
const mallCode = '597055555536'
const card = { token: savedCard, ref: { methodId: savedCard.username, customer: {} } }
const refundCommand = { refundId: 'rfd_1', amount: 1_000, isFull: false, key }
const direct = { flow: 'direct', providerCheckoutId: undefined } as const

function optionsFor(product: 'webpay' | 'oneclick') {
  const isWebpay = product === 'webpay'
  return new Options(
    isWebpay ? commerceCode : oneclickCommerceCode,
    isWebpay ? apiKey : oneclickApiKey,
    double.url,
    5_000,
  )
}

const webpay = () => new WebpayPlus.Transaction(optionsFor('webpay'))
const webpayMall = () => new WebpayPlus.MallTransaction(optionsFor('webpay'))
const oneclick = () => new Oneclick.MallTransaction(optionsFor('oneclick'))
const inscriptions = () => new Oneclick.MallInscription(optionsFor('oneclick'))

describe('every call goes out as the SDK sends it', () => {
  const created = { token, url: 'https://webpay3gint.transbank.cl/webpayserver/initTransaction' }
  const captured = { response_code: 0, captured_amount: 500 }
  const held = { authorization_code: '123456' }
  const mall = { mallChildCommerceCode: mallCode }
  const mallDetail = () => [new TransactionDetail(10_000, mallCode, shopOrder)]
  const charge = () => [new TransactionDetail(10_000, shop, shopOrder, 3)]
  const context = (changes?: Record<string, unknown>) => double.context(changes)

  const verbs: Array<[verb: string, answer: unknown, ours: () => unknown, theirs: () => Promise<unknown>]> = [
    [
      'create',
      created,
      () => transbank.createCheckout(createCheckoutCommand(), context()),
      () => webpay().create(order, paymentId, 10_000, returnUrl),
    ],
    [
      'create of a Mall',
      created,
      () => transbank.createCheckout(createCheckoutCommand(), context(mall)),
      () => webpayMall().create(order, paymentId, returnUrl, mallDetail()),
    ],
    [
      'create in dollars',
      created,
      () =>
        transbank.createCheckout(
          createCheckoutCommand({ amount: 1_099, currency: 'USD' }),
          context({ currency: 'USD' }),
        ),
      () => webpay().create(order, paymentId, 10.99, returnUrl),
    ],
    ['commit', approved(), () => transbank.commit?.(createRef(), context()), () => webpay().commit(token)],
    ['status', approved(), () => transbank.read(createRef(), context()), () => webpay().status(token)],
    [
      'capture',
      captured,
      () => transbank.capture?.(createRef({ details: held }), 500, key, context()),
      () => webpay().capture(token, order, '123456', 500),
    ],
    [
      'capture of a Mall',
      captured,
      () => transbank.capture?.(createRef({ details: held }), 500, key, context(mall)),
      () => webpayMall().capture(mallCode, token, shopOrder, '123456', 500),
    ],
    [
      'refund',
      { type: 'REVERSED' },
      () => transbank.refund(createRef(), refundCommand, context()),
      () => webpay().refund(token, 1_000),
    ],
    [
      'refund of a Mall',
      { type: 'REVERSED' },
      () => transbank.refund(createRef(), refundCommand, context(mall)),
      () => webpayMall().refund(token, shopOrder, mallCode, 1_000),
    ],
    [
      'cancel',
      { type: 'REVERSED' },
      () => transbank.cancel?.(createRef({ capture: 'manual' }), key, context()),
      () => webpay().refund(token, 10_000),
    ],
    [
      'authorize of Oneclick',
      approvedShop(),
      () => transbank.createPayment?.(createChargeCommand({ installments: 3 }), context()),
      () => oneclick().authorize(savedCard.username, savedCard.tbk_user, order, charge()),
    ],
    [
      'status of Oneclick',
      approvedShop(),
      () => transbank.read(createRef(direct), context()),
      () => oneclick().status(order),
    ],
    [
      'capture of Oneclick',
      captured,
      () => transbank.capture?.(createRef({ ...direct, details: held }), 500, key, context()),
      () => oneclick().capture(shop, shopOrder, '123456', 500),
    ],
    [
      'refund of Oneclick',
      { type: 'REVERSED' },
      () => transbank.refund(createRef(direct), refundCommand, context()),
      () => oneclick().refund(order, shop, shopOrder, 1_000),
    ],
    [
      'start of an inscription',
      { token, url_webpay: 'https://webpay3gint.transbank.cl/webpayserver/bp_inscription.cgi' },
      () =>
        transbank.saveMethod?.(
          { methodId: 'pmt_1', customer: { email: 'ana@example.com' }, tenantId: 't_1', returnUrl, key },
          context(),
        ),
      () => inscriptions().start('pmt_1', 'ana@example.com', returnUrl),
    ],
    [
      'finish of an inscription',
      { response_code: 0, tbk_user: savedCard.tbk_user },
      () =>
        transbank.finishMethod?.(
          { ...card.ref, providerInscriptionId: token },
          new URLSearchParams({ TBK_TOKEN: token }),
          context(),
        ),
      () => inscriptions().finish(token),
    ],
    [
      'delete of an inscription',
      {},
      () => transbank.removeMethod?.(card.token, card.ref, context()),
      () => inscriptions().delete(savedCard.tbk_user, savedCard.username),
    ],
  ]

  for (const [verb, answer, ours, theirs] of verbs) {
    test(verb, async () => {
      double.answerWith(answer)
      const start = double.calls.length
      const outcome = (await ours()) as { outcome: string }
      assert.equal(outcome.outcome, 'done', JSON.stringify(outcome))
      await theirs()
      const [our, their, ...more] = double.calls.slice(start)
      assert.deepEqual(more, [])
      assert.ok(our && their)
      assert.deepEqual([our.method, our.path, our.body], [their.method, their.path, their.body])
      for (const name of ['tbk-api-key-id', 'tbk-api-key-secret', 'content-type']) {
        assert.equal(our.headers[name], their.headers[name], name)
      }
    })
  }
})

describe('a checkout', () => {
  test('sends the customer to Webpay with a form that holds the token', async () => {
    const url = 'https://webpay3gint.transbank.cl/webpayserver/initTransaction'
    double.answerWith({ token, url })
    assert.deepEqual(await transbank.createCheckout(createCheckoutCommand(), double.context()), {
      outcome: 'done',
      snapshot: {
        providerCheckoutId: token,
        status: 'requires_action',
        amount: 10_000,
        currency: 'CLP',
        captured: 0,
        refunded: 0,
        action: { kind: 'redirect', method: 'POST', url, fields: { token_ws: token } },
        expiresAt: new Date(now.getTime() + 10 * 60_000),
      },
    })
  })

  for (const answer of [
    { token: '../status', url: 'https://webpay3gint.transbank.cl/' },
    { token, url: 'javascript:alert(1)' },
    { token },
    '<html>',
  ]) {
    test(`an answer that can't be used leaves the outcome unknown: ${JSON.stringify(answer)}`, async () => {
      double.answerWith(answer)
      const { outcome } = await transbank.createCheckout(createCheckoutCommand(), double.context())
      assert.equal(outcome, 'unknown')
    })
  }
})

test('what comes as a webhook is never believed', () => {
  const webhook = {
    method: 'POST',
    publicUrl: 'https://pipe.example.com/webhooks/payment',
    query: new URLSearchParams(),
    headers: { authorization: apiKey },
    body: Buffer.from(JSON.stringify({ token_ws: token })),
  }
  const verification = transbank.verify(webhook, readAccount(), now)
  assert.equal(verification.ok, false)
  assert.equal(transbank.owns(webhook, readAccount(), 't_1'), false)
  assert.deepEqual(transbank.parse(webhook, now), [])
})

test('no key and no card token is in any outcome, even when Transbank repeats them', async () => {
  const keys = [apiKey, oneclickApiKey]
  const shown: unknown[] = []
  for (const status of [400, 401, 404, 422, 429, 500]) {
    double.answerBy(({ body }) => ({
      status,
      body: { error_message: `No: ${keys.join(' ')} ${JSON.stringify(body)}` },
    }))
    const context = double.context()
    shown.push(
      await transbank.createPayment?.(createChargeCommand(), context),
      await transbank.createCheckout(createCheckoutCommand(), context),
      await transbank.refund(createRef(), refundCommand, context),
      await transbank.removeMethod?.(card.token, card.ref, context),
      await transbank.check(context),
    )
  }
  const text = JSON.stringify(shown)
  assert.ok(text.includes(savedCard.username))
  for (const secret of [...keys, savedCard.tbk_user]) assert.ok(!text.includes(secret), secret)
})
