import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { stripe } from './stripe.ts'
import { createError, createMethodCommand, expectDone, expectNotDone, listOf } from './testing/stripe.ts'
import { returnUrl, savedMethod, startDesk } from './testing/stripe.ts'

const desk = await startDesk({ after })
const context = desk.context
const card = { id: 'pm_1', type: 'card', card: { brand: 'visa', last4: '4242', funding: 'credit' } }
const declined = { type: 'card_error', code: 'card_declined', decline_code: 'do_not_honor' }
const link = 'https://hooks.stripe.com/3d_secure/1'
const challenge = { type: 'redirect_to_url', redirect_to_url: { url: link, return_url: returnUrl } }

type Fields = Record<string, unknown>

function createSetup(changes: Fields = {}): Fields {
  const metadata = { pipecore_method_id: 'pmt_1' }
  return { id: 'seti_1', status: 'succeeded', customer: 'cus_1', payment_method: card, metadata, ...changes }
}

function createPage(changes: Fields = {}): Fields {
  const metadata = { pipecore_method_id: 'pmt_1' }
  const url = 'https://checkout.stripe.com/c/pay/cs_test_9'
  return { id: 'cs_test_9', mode: 'setup', status: 'open', url, setup_intent: null, metadata, ...changes }
}

const customers = { 'GET /v1/customers': listOf([]), 'POST /v1/customers': { id: 'cus_1' } }
const active = {
  status: 'active',
  token: savedMethod.token,
  summary: { type: 'card', brand: 'visa', last4: '4242' },
}
const waiting = {
  status: 'pending',
  action: { kind: 'redirect', method: 'GET', url: link, fields: {} },
}
const failed = {
  status: 'failed',
  failure: { code: 'card_declined', providerCode: 'do_not_honor', retry: 'other_method' },
}

const states: Array<[name: string, setup: Fields, expected: Fields]> = [
  ['saved', createSetup(), active],
  ['in 3-D Secure', createSetup({ status: 'requires_action', next_action: challenge }), waiting],
  ['declined', createSetup({ status: 'requires_payment_method', last_setup_error: declined }), failed],
  ['under way', createSetup({ status: 'processing' }), { status: 'pending' }],
  ['canceled', createSetup({ status: 'canceled' }), { status: 'canceled' }],
  ['in a word of the future', createSetup({ status: 'dreaming' }), { status: 'pending' }],
]

describe('a token', () => {
  const save = async (answer: object) => {
    desk.answers({ ...customers, 'POST /v1/setup_intents': [answer] as never })
    return stripe.saveMethod?.(createMethodCommand({ token: 'pm_card_visa' }), context())
  }

  for (const [name, setup, expected] of states) {
    test(`${name}: ${String(expected.status)}`, async () => {
      const { snapshot } = expectDone(await save({ body: setup }))
      assert.deepEqual(snapshot, { providerInscriptionId: 'seti_1', ...expected })
    })
  }

  test('a card that is declined is an answer, not an error', async () => {
    const setup = createSetup({ status: 'requires_payment_method', last_setup_error: declined })
    const body = createError({ ...declined, setup_intent: setup })
    const { snapshot } = expectDone(await save({ status: 402, body }))
    assert.deepEqual(snapshot, { providerInscriptionId: 'seti_1', ...failed })
  })

  test('without a customer at Stripe nothing is tried', async () => {
    desk.answers({ 'GET /v1/customers': [{ status: 500, body: {} }] })
    const outcome = await stripe.saveMethod?.(createMethodCommand({ token: 'pm_card_visa' }), context())
    assert.equal(expectNotDone(outcome).outcome, 'unknown')
    assert.equal(desk.taken().length, 1)
  })

  test('a customer without our reference is a new one', async () => {
    desk.answers({ ...customers, 'POST /v1/setup_intents': createSetup() })
    const customer = { email: 'ana@example.com' }
    await stripe.saveMethod?.(createMethodCommand({ token: 'pm_card_visa', customer }), context())
    assert.deepEqual(
      desk.taken().map(({ call }) => call),
      ['POST /v1/customers', 'POST /v1/setup_intents'],
    )
  })
})

describe('a customer who comes back', () => {
  const finish = async (id: string, answer: Fields, query = '') => {
    const path = id.startsWith('cs_') ? `checkout/sessions/${id}` : `setup_intents/${id}`
    desk.answers({ [`GET /v1/${path}`]: answer })
    const ref = { methodId: 'pmt_1', providerInscriptionId: id, customer: {} }
    return stripe.finishMethod?.(ref, new URLSearchParams(query), context())
  }

  for (const [name, setup, expected] of states) {
    test(`from 3-D Secure, ${name}: ${String(expected.status)}`, async () => {
      const { snapshot } = expectDone(await finish('seti_1', setup))
      assert.deepEqual(snapshot, { providerInscriptionId: 'seti_1', ...expected })
      assert.deepEqual(desk.taken()[0]?.fields, [['expand[0]', 'payment_method']])
    })
  }

  test('from the page, with a card', async () => {
    const page = createPage({ status: 'complete', setup_intent: createSetup() })
    const { snapshot } = expectDone(await finish('cs_test_9', page))
    assert.deepEqual(snapshot, { providerInscriptionId: 'cs_test_9', ...active })
    assert.deepEqual(desk.taken()[0]?.fields, [['expand[0]', 'setup_intent.payment_method']])
  })

  test('from the page, without one: it is still open, unless the customer gave up', async () => {
    const open = expectDone(await finish('cs_test_9', createPage())).snapshot
    assert.deepEqual([open.status, open.action?.url], ['pending', createPage().url])
    const left = expectDone(await finish('cs_test_9', createPage(), 'pipecore_canceled=1')).snapshot
    assert.deepEqual(
      [left.status, left.failure?.code, left.action],
      ['canceled', 'canceled_by_customer', undefined],
    )
    const saved = createPage({ status: 'complete', setup_intent: createSetup() })
    assert.equal(
      expectDone(await finish('cs_test_9', saved, 'pipecore_canceled=1')).snapshot.status,
      'active',
    )
    const expired = createPage({ status: 'expired', url: null })
    assert.equal(expectDone(await finish('cs_test_9', expired)).snapshot.status, 'canceled')
  })

  test('an inscription of another method saves nothing', async () => {
    for (const metadata of [{ pipecore_method_id: 'pmt_2' }, {}]) {
      const { outcome, kind } = expectNotDone(await finish('seti_1', createSetup({ metadata })))
      assert.deepEqual([outcome, kind], ['refused', 'state'])
    }
  })

  test('without an inscription there is nothing to ask for', async () => {
    desk.answers({})
    const ref = { methodId: 'pmt_1', customer: {} }
    const outcome = await stripe.finishMethod?.(ref, new URLSearchParams('setup_intent=seti_2'), context())
    assert.equal(expectNotDone(outcome).outcome, 'refused')
    assert.deepEqual(desk.taken(), [])
  })
})

test('a method that is gone is removed; another refusal is told', async () => {
  const remove = () =>
    stripe.removeMethod?.(savedMethod.token, { methodId: 'pmt_1', customer: {} }, context())
  desk.answers({})
  assert.equal((await remove())?.outcome, 'done')
  desk.answers({ 'POST /v1/payment_methods/pm_1/detach': [{ status: 401, body: createError({}) }] })
  assert.equal(expectNotDone(await remove()).kind, 'auth')
})
