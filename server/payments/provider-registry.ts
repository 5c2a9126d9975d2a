import { invalidRequest } from '#core/errors.ts'
import { paymentProviders } from './providers/index.ts'
import type { PaymentProvider } from './providers/provider.ts'

/** @throws PipeError `request_invalid` naming the providers there are */
export function requirePaymentProvider(id: string): PaymentProvider {
  const provider = paymentProviders.find((one) => one.id === id)
  if (provider !== undefined) return provider
  const names = paymentProviders.map((one) => one.id).join(', ')
  throw invalidRequest(`There is no provider ${id} for payments; choose one of ${names}.`, [
    { field: 'provider', message: `must be one of ${names}` },
  ])
}

/** The URL a provider reports to for a tenant. */
export function paymentWebhookUrl(publicUrl: string, tenantId: string, providerId: string): string {
  const query = new URLSearchParams({ tenant_id: tenantId, provider: providerId })
  return `${publicUrl}/webhooks/payment?${query.toString()}`
}

/** Where customers come back to from a provider's page. */
export function returnUrl(publicUrl: string, token: string): string {
  return `${publicUrl}/payments/return/${token}`
}
