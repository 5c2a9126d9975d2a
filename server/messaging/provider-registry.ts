import { invalidRequest } from '#core/errors.ts'
import { findMessagingProvider, messagingProviders } from './providers/index.ts'
import type { Channel, MessagingProvider } from './providers/provider.ts'

/** @throws PipeError `request_invalid` naming the providers there are */
export function requireMessagingProvider(id: string, channel?: Channel): MessagingProvider {
  const provider = findMessagingProvider(id)
  const fits = provider !== undefined && (channel === undefined || provider.channels.includes(channel))
  if (fits) return provider
  const names = messagingProviders
    .filter((one) => channel === undefined || one.channels.includes(channel))
    .map((one) => one.id)
  const what = channel === undefined ? 'messages' : channel
  throw invalidRequest(`There is no provider ${id} for ${what}; choose one of ${names.join(', ')}.`, [
    { field: 'provider', message: `must be one of ${names.join(', ')}` },
  ])
}

/** The URL a provider reports to for a tenant and channel; its query is part of what Twilio signs. */
export function messagingWebhookUrl(
  publicUrl: string,
  tenantId: string,
  channel: string,
  providerId: string,
): string {
  const query = new URLSearchParams({ tenant_id: tenantId, provider: providerId })
  return `${publicUrl}/messaging/webhook/${channel}?${query.toString()}`
}
