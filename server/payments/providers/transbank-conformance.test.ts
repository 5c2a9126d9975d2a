import { testPaymentProvider } from '../testing/conformance.ts'
import { accounts, type PaymentsServer, tenantId } from '../testing/server.ts'
import assert from 'node:assert/strict'
import type { Method } from '../methods/schema.ts'
import { followBrowser } from '../testing/server.ts'

/** A card saved by Oneclick's inscription page. */
async function saveCard(server: PaymentsServer): Promise<Method> {
  const { body } = await server.api.call<Method>('POST', '/payments/methods', {
    tenant_id: tenantId,
    provider: 'transbank',
    customer: { reference: 'customer_1', email: 'ana@example.com' },
    return_url: 'https://shop.example.com/cards',
  })
  const token = body.next_action?.fields['TBK_TOKEN']
  assert.ok(token, JSON.stringify(body))
  const { next } = await server.control<{ next: Parameters<typeof followBrowser>[0] }>('POST', 'pay', {
    provider: 'transbank',
    id: token,
    choice: 'approve',
  })
  await followBrowser(next)
  const saved = await server.api.call<Method>('GET', `/payments/methods/${body.id}`)
  assert.equal(saved.body.status, 'active', JSON.stringify(saved.body))
  return saved.body
}

/** The same tenant with codes that only hold money until it is captured. */
async function defer(server: PaymentsServer): Promise<void> {
  await server.api.call('POST', '/payments/config/provider', {
    tenantId,
    provider: 'transbank',
    credentials: {
      commerceCode: accounts.deferredWebpay,
      apiKey: accounts.transbankKey,
      deferred: true,
    },
    priority: 2,
  })
}

async function undefer(server: PaymentsServer): Promise<void> {
  await server.api.call('POST', '/payments/config/provider', {
    tenantId,
    provider: 'transbank',
    credentials: {
      commerceCode: accounts.webpay,
      apiKey: accounts.transbankKey,
      oneclickCommerceCode: accounts.oneclick,
      oneclickChildCommerceCode: accounts.oneclickChild,
    },
    priority: 2,
  })
}

testPaymentProvider({
  provider: 'transbank',
  currency: 'CLP',
  amount: 15_990,
  direct: async (server) => ({ method_id: (await saveCard(server)).id }),
  declined: async (server) => {
    const { id } = await saveCard(server)
    await server.control('POST', 'act', { provider: 'transbank', action: 'decline_next' })
    return { fields: { method_id: id }, code: 'card_declined' }
  },
  decline: { choice: 'decline', extra: {} },
  hold: async (server) => {
    await defer(server)
    const payment = await server.pay({
      amount: 15_990,
      currency: 'CLP',
      provider: 'transbank',
      capture: 'manual',
      return_url: 'https://shop.example.com/back',
    })
    await server.customer('transbank', payment, 'approve')
    await undefer(server)
    return server.read(payment.id)
  },
  webhooks: false,
  partialCapture: true,
  secrets: [accounts.transbankKey],
})
