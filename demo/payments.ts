import { setTimeout as pause } from 'node:timers/promises'
import { check, StepFailed } from './check.ts'
import type { Player, Scene } from './steps.ts'

type PaymentProviderId = 'mercadopago' | 'transbank' | 'stripe'

interface Payment {
  id: string
  status: string
  next_action: { url: string; fields: Record<string, string> } | null
}

interface Totals {
  charged: number
  refunded: number
  charges: number
  refunds: number
}

interface BrowserStep {
  method: string
  url: string
  fields: Record<string, string>
}

const names: Readonly<Record<PaymentProviderId, string>> = {
  mercadopago: 'MercadoPago',
  transbank: 'Transbank',
  stripe: 'Stripe',
}
const order = { currency: 'CLP', customer: { email: 'juan@email.com', reference: 'juan' } }
const shop = 'https://tableflow.com/pedidos'
const monthMs = 31 * 24 * 60 * 60 * 1000
const patienceMs = 20_000
const pollMs = 100

/** A restaurant is paid by three ways, gives something back and bills a plan; answers what the providers' books say. */
export async function takePayments(scene: Scene, player: Player): Promise<string> {
  await connectAccounts(scene, player)
  await payByMercadopago(scene, player)
  const sale = await payByWebpay(scene, player)
  await giveBack(scene, player, sale)
  await renewOnStripe(scene, player)
  return readBooks(scene)
}

async function connectAccounts(scene: Scene, player: Player): Promise<void> {
  const accounts: Array<[PaymentProviderId, string, Record<string, string>]> = [
    ['mercadopago', 'TEST-tableflow-access-token', { accessToken: 'TEST-tableflow-access-token' }],
    [
      'transbank',
      '597055555532',
      {
        commerceCode: '597055555532',
        // Transbank's own public key for trying.
        apiKey: '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C',
      },
    ],
    ['stripe', 'sk_test_tableflow_key', { secretKey: 'sk_test_tableflow_key' }],
  ]
  for (const [provider, account, credentials] of accounts) {
    const row = scene.screen.row({ ...whoPays(player, provider), arrow: '·', text: account })
    const config = { tenantId: player.product.tenantId, provider, credentials }
    const save = (body: object) =>
      player.pipecore<{ id: string; webhook_url: string | null }>('POST', '/payments/config/provider', {
        body,
      })
    let saved = await save(config)
    row.tick('sealed')
    if (saved.webhook_url !== null) {
      const path = `/sandbox/accounts/${provider}/${account}`
      const shown = await scene.sandbox<{ webhook_secret: string }>('PUT', path, {
        body: { webhook_url: saved.webhook_url },
      })
      saved = await save({ ...config, credentials: { ...credentials, webhookSecret: shown.webhook_secret } })
      row.tick('webhook')
    }
    const path = `/payments/config/${player.product.tenantId}/${saved.id}/check`
    const { ok, notes } = await player.pipecore<{ ok: boolean; notes: string[] }>('POST', path)
    check(`${names[provider]} accepts the credentials: ${notes.join(' ')}`, ok, true)
    row.tick('checked')
    row.end()
  }
}

/** The customer pays and closes the browser: the webhook tells. */
async function payByMercadopago(scene: Scene, player: Player): Promise<void> {
  const row = scene.screen.row({
    ...whoPays(player, 'mercadopago'),
    arrow: '→',
    text: 'Pedido #ORD-123, CLP 15990',
  })
  const payment = await openPage(player, 'mercadopago', { amount: 15_990, reference: 'ORD-123' })
  row.tick('page')
  const id = new URL(payment.next_action?.url ?? '').searchParams.get('pref_id')
  await scene.sandbox('POST', '/sandbox/pay', { body: { provider: 'mercadopago', id, choice: 'approve' } })
  row.tick('paid')
  await waitForEvent(player, 'payment.confirmed', payment.id)
  row.tick('confirmed')
  row.end()
}

/** The returning browser makes PipeCore confirm the sale: without it Webpay takes nothing. */
async function payByWebpay(scene: Scene, player: Player): Promise<Payment> {
  const row = scene.screen.row({
    ...whoPays(player, 'transbank'),
    arrow: '→',
    text: 'Pedido #ORD-124, CLP 8990',
  })
  const payment = await openPage(player, 'transbank', { amount: 8_990, reference: 'ORD-124' })
  row.tick('form')
  const id = payment.next_action?.fields['token_ws']
  const body = { provider: 'transbank', id, choice: 'approve' }
  const { next } = await scene.sandbox<{ next: BrowserStep }>('POST', '/sandbox/pay', { body })
  row.tick('paid')
  const place = await comeBack(next)
  check('The customer is back at the shop', place.origin + place.pathname, `${shop}/ORD-124`)
  row.tick('returned')
  await waitForEvent(player, 'payment.confirmed', payment.id)
  row.tick('confirmed')
  row.end()
  return payment
}

async function giveBack(scene: Scene, player: Player, sale: Payment): Promise<void> {
  const row = scene.screen.row({ ...whoPays(player, 'transbank'), arrow: '←', text: 'Devolución, CLP 2500' })
  const body = { amount: 2_500, reason: 'Faltó la bebida' }
  const { status } = await player.pipecore<{ status: string }>('POST', `/payments/${sale.id}/refunds`, {
    body,
  })
  check('The refund', status, 'succeeded')
  await waitForEvent(player, 'payment.refunded', sale.id)
  row.tick('refunded')
  row.end()
}

async function renewOnStripe(scene: Scene, player: Player): Promise<void> {
  const row = scene.screen.row({
    ...whoPays(player, 'stripe'),
    arrow: '→',
    text: 'Plan Pro, CLP 19990 a month',
  })
  const { id } = await player.pipecore<{ id: string }>('POST', '/payments/subscriptions', {
    body: {
      ...order,
      tenant_id: player.product.tenantId,
      provider: 'stripe',
      amount: 19_990,
      interval: { every: 'month' },
      description: 'Plan Pro',
      token: 'pm_card_visa',
    },
  })
  await waitForEvent(player, 'subscription.activated', id)
  row.tick('activated')
  await scene.sandbox('POST', '/sandbox/clock', { body: { advance_ms: monthMs } })
  row.skip('a month later')
  await waitForEvent(player, 'subscription.renewed', id)
  row.tick('renewed')
  row.end()
}

function openPage(player: Player, provider: PaymentProviderId, sale: { amount: number; reference: string }) {
  const body = {
    ...order,
    ...sale,
    tenant_id: player.product.tenantId,
    provider,
    description: `Pedido #${sale.reference}`,
    return_url: `${shop}/${sale.reference}`,
  }
  return player.pipecore<Payment>('POST', '/payments/create', { body })
}

/** What a browser does with the provider's answer. */
async function comeBack({ method, url, fields }: BrowserStep): Promise<URL> {
  const form = new URLSearchParams(fields)
  const target = method === 'GET' ? `${url}?${form.toString()}` : url
  const answer = await fetch(target, { method, redirect: 'manual', ...(method === 'POST' && { body: form }) })
  return new URL(answer.headers.get('location') ?? '')
}

async function waitForEvent({ backend }: Player, type: string, id: string): Promise<void> {
  const [event] = await backend.waitFor(`${type} of ${id}`, (one) => {
    return one.event === type && [one.payment_id, one.subscription_id].includes(id)
  })
  if (event === undefined) throw new StepFailed(type, 'an event', 'none')
}

/** What the providers say was taken and given back; they may still be writing. */
async function readBooks({ sandbox }: Scene): Promise<string> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const { totals } = await sandbox<{ totals: Record<string, Totals> }>('GET', '/sandbox/ledger')
    const books = Object.values(totals)
    const sum = (name: keyof Totals) => books.reduce((total, one) => total + one[name], 0)
    const found = { charged: sum('charged'), refunded: sum('refunded') }
    const expected = { charged: 15_990 + 8_990 + 2 * 19_990, refunded: 2_500 }
    const isWritten = found.charged === expected.charged && found.refunded === expected.refunded
    if (isWritten || performance.now() > deadline) {
      check("The providers' books", found, expected)
      return `CLP ${found.charged} taken, CLP ${found.refunded} given back`
    }
    await pause(pollMs)
  }
}

function whoPays({ product }: Player, provider: PaymentProviderId) {
  return { product: product.name, channel: 'Payment', provider: names[provider] }
}
