import { type Client, eventually, type Sandbox } from '../harness.ts'
import { type AccountKind, openAccount } from './accounts.ts'
import { type BrowserStep, browse } from './customers.ts'
import type { ProviderId } from './plan.ts'

/** A tenant with an account at one provider. */
export interface Shop {
  tenantId: string
  provider: ProviderId
  /** Ids of methods that were saved before. */
  saved: string
  /** Charging it is declined. */
  declining: string | undefined
}

export interface Opening {
  admin: Client
  sandbox: Sandbox
  publicUrl: string
  productId: string
}

export async function openShop(
  opening: Opening,
  provider: ProviderId,
  kind: AccountKind,
  number: number,
): Promise<Shop> {
  const { admin, sandbox, publicUrl, productId } = opening
  const tenantId = `${provider}_${kind}_${number}`
  await admin.ok('POST', '/tenants', { id: tenantId, product_id: productId, name: tenantId })
  const webhookUrl = `${publicUrl}/webhooks/payment?tenant_id=${tenantId}&provider=${provider}`
  const credentials = await openAccount(sandbox, { provider, kind, number, webhookUrl })
  await admin.ok('POST', '/payments/config/provider', { tenantId, provider, credentials })
  const saved = await saveMethod(opening, provider, tenantId)
  const declining = provider === 'transbank' ? await saveDeclining(opening, tenantId) : undefined
  return { tenantId, provider, saved, declining }
}

const tokens = { stripe: 'pm_card_visa', mercadopago: 'tok_apro' } as const
const returnUrl = 'https://shop.example.com/cards'

async function saveMethod(opening: Opening, provider: ProviderId, tenantId: string): Promise<string> {
  const { admin, sandbox } = opening
  const card = provider === 'transbank' ? { return_url: returnUrl } : { token: tokens[provider] }
  const made = await admin.ok<{ id: string; next_action: { fields: Record<string, string> } | null }>(
    'POST',
    '/payments/methods',
    { tenant_id: tenantId, provider, customer: customerOf(tenantId), ...card },
  )
  const token = made.next_action?.fields['TBK_TOKEN']
  if (token !== undefined) {
    const act = { provider, id: token, choice: 'approve' }
    const { next } = await sandbox.control<{ next: BrowserStep }>('POST', '/pay', act)
    await browse(next)
  }
  await eventually(async () => {
    const { status } = await admin.ok('GET', `/payments/methods/${made.id}`)
    return status === 'active'
  })
  return made.id
}

async function saveDeclining(opening: Opening, tenantId: string): Promise<string> {
  const saved = await saveMethod(opening, 'transbank', tenantId)
  // Naming no card means the one that was saved last.
  const act = { provider: 'transbank', action: 'decline_next', times: null }
  await opening.sandbox.control('POST', '/act', act)
  return saved
}

export function customerOf(tenantId: string): { reference: string; email: string } {
  return { reference: `customer_of_${tenantId}`, email: `ana@${tenantId.replaceAll('_', '-')}.example.com` }
}

/** What a sale is paid with at once. */
export function payWith({ provider, saved, declining }: Shop, way: 'token' | 'saved' | 'declined'): object {
  if (way === 'saved') return { method_id: saved }
  if (provider === 'stripe') {
    return { token: way === 'token' ? tokens.stripe : 'pm_card_chargeDeclined' }
  }
  if (provider === 'mercadopago') {
    return { token: way === 'token' ? tokens.mercadopago : 'tok_fund', brand: 'visa' }
  }
  return { method_id: declining }
}
