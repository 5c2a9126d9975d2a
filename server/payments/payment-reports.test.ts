import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { before, describe, test } from 'node:test'
import type { Checkout, LogEntry, Payment, Story } from './schema.ts'
import { type PaymentsServer, startPaymentsServer, tenantId } from './testing/server.ts'

const sale = { amount: 15_990, currency: 'CLP', provider: 'mercadopago' }
const card = { token: 'tok_apro', brand: 'visa', customer: { email: 'ana@example.com' } }
const page = { return_url: 'https://shop.example.com/back' }
let server: PaymentsServer
let stranger: PaymentsServer['api']
const cleanups: Array<() => Promise<void>> = []

interface Page<Item> {
  data: Item[]
  next_cursor: string | null
}

before(async () => {
  server = await startPaymentsServer({ after: (work) => void cleanups.push(work) })
  await server.api.call('POST', '/tenants', { id: 'genda_1', product_id: 'tableflow', name: 'Other' })
  const { body } = await server.api.call<{ key: string }>('POST', '/tenants/genda_1/keys', {})
  stranger = server.api.as(body.key)
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function list(query: string): Promise<Page<Payment>> {
  const path = `/payments?tenant_id=${tenantId}&${query}`
  const answer = await server.api.call<Page<Payment>>('GET', path)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

const idsOf = ({ data }: Page<{ id: string }>) => data.map(({ id }) => id)

describe('payments', () => {
  test('are listed page by page, newest first, and by what is asked for', async () => {
    const order = { reference: 'order_7', customer: { email: 'ana@example.com', reference: 'ana' } }
    const first = await server.pay({ ...sale, ...card, ...order })
    const second = await server.pay({ ...sale, ...card, ...order, token: 'tok_fund' })
    const third = await server.pay({ ...sale, ...page, provider: 'transbank', reference: 'order_7' })
    const all = [third.id, second.id, first.id]
    assert.deepEqual(idsOf(await list('reference=order_7')), all)
    const part = await list('reference=order_7&limit=2')
    assert.deepEqual(idsOf(part), all.slice(0, 2))
    const rest = await list(`reference=order_7&limit=2&cursor=${part.next_cursor}`)
    assert.deepEqual([idsOf(rest), rest.next_cursor], [all.slice(2), null])
    assert.deepEqual(idsOf(await list('reference=order_7&status=failed')), [second.id])
    assert.deepEqual(idsOf(await list('reference=order_7&provider=transbank')), [third.id])
    assert.deepEqual(idsOf(await list('customer_reference=ana')), [second.id, first.id])
    assert.deepEqual(idsOf(await list('reference=order_7&currency=usd')), [])
    assert.deepEqual(idsOf(await list('reference=order_7&subscription_id=sub_none')), [])
    assert.deepEqual(idsOf(await list(`reference=order_7&since=${third.created_at}`)), [third.id])
    assert.deepEqual(idsOf(await list(`reference=order_7&until=${third.created_at}`)), [second.id, first.id])
    assert.equal((await server.refuse('GET', `/payments?tenant_id=${tenantId}&paid=yes`)).status, 422)
  })

  test('of another tenant do not exist', async () => {
    const payment = await server.pay({ ...sale, ...card })
    for (const path of ['', '/refunds', '/story']) {
      const { status, body } = await stranger.call('GET', `/payments/${payment.id}${path}`)
      assert.deepEqual([status, body['code']], [404, 'payment_not_found'], path)
    }
    assert.equal((await stranger.call('POST', `/payments/${payment.id}/cancel`)).status, 404)
    for (const path of [`logs/${tenantId}`, `stats/${tenantId}`]) {
      assert.equal((await stranger.call('GET', `/payments/${path}`)).status, 404, path)
    }
    assert.equal((await stranger.call('GET', `/payments?tenant_id=${tenantId}`)).status, 404)
    assert.equal((await server.refuse('GET', '/payments/pay_none')).code, 'payment_not_found')
  })
})

test('a checkout is read by its own id', async () => {
  const items = [{ title: 'Menú del día', quantity: 2, unit_amount: 7_995 }]
  const made = await server.api.call<Checkout>('POST', '/payments/checkouts', {
    tenant_id: tenantId,
    provider: 'mercadopago',
    currency: 'CLP',
    items,
    ...page,
  })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  const read = await server.api.call<Checkout>('GET', `/payments/checkouts/${made.body.id}`)
  assert.deepEqual([read.body.status, read.body.amount, read.body.items], ['open', 15_990, items])
  assert.equal(read.body.payment_id, made.body.payment_id)
  const hidden = await stranger.call('GET', `/payments/checkouts/${made.body.id}`)
  assert.deepEqual([hidden.status, hidden.body['code']], [404, 'checkout_not_found'])
})

/** The texts of a story, without what differs from run to run. */
function textsOf({ steps }: Story): string[] {
  return steps.map(({ text }) => text)
}

function assertInOrder(texts: readonly string[], wanted: readonly RegExp[]): void {
  let from = 0
  for (const pattern of wanted) {
    const index = texts.findIndex((text, at) => at >= from && pattern.test(text))
    assert.notEqual(index, -1, `${pattern} not in ${JSON.stringify(texts.slice(from), null, 1)}`)
    from = index + 1
  }
}

describe('the story of a payment', () => {
  test('tells calls, webhooks, returns and events in plain words, in order and under one trace', async () => {
    const payment = await server.pay({ ...sale, ...page })
    await server.customer('mercadopago', payment, 'approve')
    await server.until(payment.id, ({ status }) => status === 'confirmed')
    await server.api.call('POST', `/payments/${payment.id}/refunds`, { amount: 5_000 })
    await server.eventsOf(payment.id, ['payment.confirmed', 'payment.refunded', 'refund.succeeded'])
    const story = await heard(payment.id)
    assertInOrder(textsOf(story), [
      /^Asked MercadoPago for a page where the customer pays CLP 15990\.$/,
      /^MercadoPago answered: requires action\.$/,
      /^Told the backend: payment\.created\.$/,
      /^Told the backend: payment\.requires_action\.$/,
      /^Asked MercadoPago how the payment stands\. .*It says: confirmed\.$/,
      /^Told the backend: payment\.confirmed\.$/,
      /^Asked MercadoPago to give CLP 5000 back\.$/,
      /^MercadoPago answered: succeeded\.$/,
      /^Told the backend: payment\.refunded\.$/,
    ])
    assertInOrder(textsOf(story), [/^The customer came back with .*The provider is asked\.$/])
    assertInOrder(textsOf(story), [/^The provider reported payment\.\w+\.$/])
    const traces = story.steps.flatMap(({ log, event }) => [log?.trace_id, event?.trace_id])
    assert.deepEqual(new Set(traces.filter((id) => id !== undefined)), new Set([payment.trace_id]))
    assert.deepEqual([story.payment.refunded, story.refunds.length], [5_000, 1])
    const times = story.steps.map(({ at }) => at)
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a.localeCompare(b)),
    )
    assert.ok(
      story.steps.every(({ log, event, text }) => log !== null || event !== null || / answered/.test(text)),
    )
  })

  test('tells that nobody knew, and how it was found out', async () => {
    const payment = await server.pay({ ...sale, ...page, provider: 'transbank' })
    await server.customer('transbank', payment, 'approve')
    await server.until(payment.id, ({ status }) => status === 'confirmed')
    const fault = { provider: 'transbank', fault: 'hang_after', operation: 'refund', times: 1 }
    await server.control('POST', 'payment-faults', fault)
    await server.api.call('POST', `/payments/${payment.id}/refunds`, { amount: 1_000 })
    await server.waitFor(payment.id, ({ refunded }) => refunded === 1_000)
    await server.eventsOf(payment.id, ['refund.unknown', 'payment.refunded'])
    assertInOrder(textsOf(await heard(payment.id)), [
      /^Confirmed to Transbank that the customer pays CLP 15990\.$/,
      /^Asked Transbank to give CLP 1000 back\.$/,
      /^No clear answer came from Transbank: .* What became of it is looked up before anything is repeated\.$/,
      /^Told the backend: refund\.unknown\.$/,
      /^Asked Transbank how the payment stands\. Read by the janitor\. It says: confirmed\.$/,
      /^Told the backend: payment\.refunded\.$/,
    ])
  })

  test('tells why it was declined', async () => {
    const payment = await server.pay({ ...sale, ...card, token: 'tok_fund' })
    await server.eventsOf(payment.id, ['payment.failed'])
    assertInOrder(textsOf(await heard(payment.id)), [
      /^Asked MercadoPago to take CLP 15990\.$/,
      /^MercadoPago answered: failed\.$/,
      /^Told the backend: payment\.failed\.$/,
    ])
  })

  test('tells what reconciliation found before what followed from it', async () => {
    await server.control('PATCH', 'settings', { callback_delay_ms: 600_000 })
    const payment = await server.pay({ ...sale, ...card })
    const { provider_payment_id: id } = payment
    await server.control('POST', 'act', {
      provider: 'mercadopago',
      action: 'refund',
      payment: id,
      amount: 4_000,
    })
    const body = { tenant_id: tenantId, provider: 'mercadopago' }
    await server.api.call('POST', '/payments/reconciliations', body)
    await server.eventsOf(payment.id, ['payment.drift_detected', 'payment.refunded'])
    await server.control('PATCH', 'settings', { callback_delay_ms: 5 })
    assertInOrder(textsOf(await heard(payment.id)), [
      /^Asked MercadoPago how the payment stands\. Read for reconciliation\. It says: confirmed\.$/,
      /^Reconciliation found a difference\. Here: CLP 0 given back\. At MercadoPago: CLP 4000 more given back as \w+\.$/,
      /^Told the backend: payment\.drift_detected\.$/,
      /^Told the backend: refund\.created\.$/,
      /^Told the backend: payment\.refunded\.$/,
    ])
  })
})

/** Once the backend has taken all that it was told. */
async function heard(id: string): Promise<Story> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const story = await server.story(id)
    const isHeard = story.steps.every(
      ({ event }) =>
        event === null ||
        (event.deliveries.length > 0 && event.deliveries.every(({ state }) => state === 'delivered')),
    )
    if (isHeard) return story
    assert.ok(performance.now() < deadline, JSON.stringify(story.steps))
    await sleep(25)
  }
}

describe('the log of a tenant', () => {
  test('has every call with the answer of the provider, and no credentials', async () => {
    const payment = await server.pay({ ...sale, ...card })
    const log = async (query: string) => {
      const path = `/payments/logs/${tenantId}?${query}`
      return (await server.api.call<Page<LogEntry>>('GET', path)).body
    }
    const { data } = await log(`subject=${payment.id}&action=create_payment`)
    const [call] = data
    assert.deepEqual([data.length, call?.outcome, call?.answer?.status], [1, 'done', 201])
    assert.match(call?.answer?.text ?? '', /approved/)
    assert.ok(!JSON.stringify(await log('limit=200')).includes('tableflow-access-token'))
    assert.deepEqual((await log(`subject=${payment.id}&outcome=refused`)).data, [])
    assert.deepEqual((await log(`subject=${payment.id}&provider=transbank`)).data, [])
    const newest = await log('limit=1')
    const next = await log(`limit=1&cursor=${newest.next_cursor}`)
    assert.ok((next.data[0]?.id ?? 'z') < (newest.data[0]?.id ?? ''))
  })
})
