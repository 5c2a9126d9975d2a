import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { bearerOf, startWorld, tenantOf } from './mission-world.ts'
import { eventually } from './harness.ts'

const world = await startWorld({ after })
const { admin, backend, pipecore, sandbox } = world
const tableflow = world.products.tableflow
const tenantId = tenantOf.tableflow
const mercadopagoToken = 'TEST-tableflow-mercadopago-token'
/** Transbank's own public codes for trying. */
const webpay = {
  commerceCode: '597055555532',
  apiKey: '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C',
}

interface Payment {
  id: string
  status: string
  next_action: { method: 'GET' | 'POST'; url: string; fields: Record<string, string> } | null
  refunded: number
  trace_id: string
}

interface Step {
  next: { method: string; url: string; fields: Record<string, string> }
}

const order = {
  tenant_id: tenantId,
  amount: 15_990,
  currency: 'CLP',
  description: 'Pedido #ORD-123',
  reference: 'ORD-123',
  customer: { email: 'cliente@email.com' },
  return_url: 'https://tableflow.com/pedidos/ORD-123',
}

describe('a restaurant’s order is paid, as documents 000 and 001 draw it', () => {
  test('MercadoPago is set up, its webhook has the path of the document, and the check says what is missing', async () => {
    const config = { tenantId, provider: 'mercadopago', credentials: { accessToken: mercadopagoToken } }
    const saved = await admin.ok<{ id: string; webhook_url: string }>(
      'POST',
      '/payments/config/provider',
      config,
    )
    assert.equal(
      saved.webhook_url,
      `${pipecore.url}/webhooks/payment?tenant_id=${tenantId}&provider=mercadopago`,
    )
    const path = `/payments/config/${tenantId}/${saved.id}/check`
    const { notes } = await admin.ok<{ notes: string[] }>('POST', path)
    assert.match(notes.join(' '), /webhookSecret/)
    const account = await sandbox.control('PUT', `/accounts/mercadopago/${mercadopagoToken}`, {
      webhook_url: saved.webhook_url,
    })
    const credentials = { ...config.credentials, webhookSecret: account['webhook_secret'] }
    await admin.ok('POST', '/payments/config/provider', { ...config, credentials })
  })

  test('backend → PipeCore → MercadoPago → webhook → backend', async () => {
    const payment = await tableflow.ok<Payment>('POST', '/payments/create', {
      ...order,
      provider: 'mercadopago',
    })
    assert.equal(payment.status, 'requires_action')
    const url = new URL(payment.next_action?.url ?? '')
    const id = url.searchParams.get('pref_id')
    // The customer pays and closes the browser: only the webhook tells.
    await sandbox.control<Step>('POST', '/pay', { provider: 'mercadopago', id, choice: 'approve' })
    const event = await backend.waitFor('payment.confirmed', (body) => body['payment_id'] === payment.id)
    assert.equal(event.path, '/functions/v1/webhooks/tableflow')
    assert.equal(event.headers.authorization, `Bearer ${bearerOf('tableflow')}`)
    const { tenant_id: tenant, amount, status, reference, trace_id: traceId } = event.body
    assert.deepEqual([tenant, amount, status, reference], [tenantId, 15_990, 'confirmed', 'ORD-123'])
    assert.equal(traceId, payment.trace_id)
  })

  test('the story of a payment is one trace, in plain words, from the request to the backend’s 200', async () => {
    const { data } = await tableflow.ok<{ data: Payment[] }>(
      'GET',
      `/payments?tenant_id=${tenantId}&reference=ORD-123`,
    )
    const [paid] = data
    assert.ok(paid !== undefined)
    const { steps } = await tableflow.ok<{
      steps: Array<{ text: string; log: { trace_id: string } | null; event: { trace_id: string } | null }>
    }>('GET', `/payments/${paid.id}/story`)
    const traces = new Set(steps.flatMap(({ log, event }) => (log ?? event)?.trace_id ?? []))
    assert.deepEqual([...traces], [paid.trace_id])
    const words = steps.map(({ text }) => text).join('\n')
    for (const part of [/MercadoPago/, /reported/, /payment\.confirmed/]) assert.match(words, part)
  })

  test('Webpay takes the same order by a form, and the customer comes back to the shop', async () => {
    const config = { tenantId, provider: 'transbank', credentials: webpay }
    await admin.ok('POST', '/payments/config/provider', config)
    const payment = await tableflow.ok<Payment>('POST', '/payments/create', {
      ...order,
      provider: 'transbank',
      reference: 'ORD-124',
    })
    assert.equal(payment.next_action?.method, 'POST')
    const id = payment.next_action.fields['token_ws']
    const { next } = await sandbox.control<Step>('POST', '/pay', {
      provider: 'transbank',
      id,
      choice: 'approve',
    })
    assert.ok(next.url.startsWith(`${pipecore.url}/payments/return/`))
    const back = await comeBack(next)
    assert.equal(back.status, 303)
    const shop = new URL(back.headers.get('location') ?? '')
    assert.equal(shop.origin + shop.pathname, order.return_url)
    assert.deepEqual(
      [shop.searchParams.get('payment_id'), shop.searchParams.get('status')],
      [payment.id, 'confirmed'],
    )
    await backend.waitFor('payment.confirmed', (body) => body['payment_id'] === payment.id)
  })

  test('a refund is made once, whatever is repeated', async () => {
    const { data } = await tableflow.ok<{ data: Payment[] }>(
      'GET',
      `/payments?tenant_id=${tenantId}&reference=ORD-124`,
    )
    const paid = data[0]!
    const refund = () =>
      tableflow.ok<{ id: string }>(
        'POST',
        `/payments/${paid.id}/refunds`,
        { amount: 5_000, reason: 'Faltó la bebida' },
        { 'idempotency-key': 'refund-ORD-124' },
      )
    const made = [await refund(), await refund(), await refund()]
    assert.equal(new Set(made.map(({ id }) => id)).size, 1)
    await backend.waitFor('payment.refunded', (body) => body['refund_amount'] === 5_000)
    const { totals } = await sandbox.control<{
      totals: Record<string, { refunded: number; refunds: number }>
    }>('GET', '/ledger?provider=transbank')
    const books = totals[paid.id.slice('pay_'.length)]
    assert.deepEqual([books?.refunds, books?.refunded], [1, 5_000])
  })

  test('what was taken and given back stands in the statistics and in the log', async () => {
    const stats = await tableflow.ok<Record<string, unknown>>('GET', `/payments/stats/${tenantId}`)
    assert.match(JSON.stringify(stats), /"CLP"/)
    const { data } = await tableflow.ok<{ data: Array<{ action: string; provider: string }> }>(
      'GET',
      `/payments/logs/${tenantId}?action=refund_payment`,
    )
    assert.deepEqual(
      data.map(({ action, provider }) => [action, provider]),
      [['refund_payment', 'transbank']],
    )
  })

  test('a payment of one tenant does not exist for another', async () => {
    const { data } = await tableflow.ok<{ data: Payment[] }>('GET', `/payments?tenant_id=${tenantId}`)
    const stranger = world.products.genda
    for (const path of ['', '/story', '/refunds']) {
      assert.equal((await stranger.call('GET', `/payments/${data[0]?.id}${path}`)).status, 404)
    }
    for (const path of ['capture', 'cancel', 'refunds']) {
      assert.equal((await stranger.call('POST', `/payments/${data[0]?.id}/${path}`, {})).status, 404)
    }
    assert.equal((await stranger.call('GET', `/payments?tenant_id=${tenantId}`)).status, 404)
  })

  test('no credential stands in any answer, event or log line', async () => {
    await eventually(() => backend.events.length > 5)
    const told = [
      ...admin.exchanges.map(({ text }) => text),
      ...backend.events.map(({ text }) => text),
      pipecore.log(),
    ].join('\n')
    for (const secret of [mercadopagoToken, webpay.apiKey]) assert.ok(!told.includes(secret))
  })
})

function comeBack({ method, url, fields }: Step['next']): Promise<Response> {
  const form = new URLSearchParams(fields)
  const target = method === 'GET' ? `${url}${url.includes('?') ? '&' : '?'}${form.toString()}` : url
  return fetch(target, { method, redirect: 'manual', ...(method === 'POST' && { body: form }) })
}
