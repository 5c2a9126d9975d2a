import {
  changeConnection,
  checkConnection,
  type ConnectionView as StoredConnection,
  getConnections,
  saveConnection,
} from '#connections'
import type { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { messagingWebhookUrl, requireMessagingProvider } from './provider-registry.ts'
import type { Channel, ConnectionChange, ConnectionView, ProviderConfig } from './schema.ts'

type View = z.infer<typeof ConnectionView>
const channels = ['whatsapp', 'sms', 'email'] as const

export async function saveProvider(
  context: Context,
  scope: TenantScope,
  input: z.infer<typeof ProviderConfig>,
): Promise<View> {
  const provider = requireMessagingProvider(input.provider, input.channel)
  const saved = await saveConnection(context, scope, provider, {
    capability: input.channel,
    credentials: input.credentials,
    isActive: input.isActive,
    priority: input.priority,
    weight: input.weight,
  })
  return present(context, saved)
}

export async function getProviders(context: Context, scope: TenantScope): Promise<View[]> {
  const rows = await getConnections(context, scope, channels, requireMessagingProvider)
  return rows.map((row) => present(context, row))
}

export async function changeProvider(
  context: Context,
  scope: TenantScope,
  id: string,
  change: z.infer<typeof ConnectionChange>,
): Promise<View> {
  return present(context, await changeConnection(context, scope, id, change, requireMessagingProvider))
}

export function checkProvider(context: Context, scope: TenantScope, id: string) {
  return checkConnection(context, scope, id, requireMessagingProvider, (row) =>
    messagingWebhookUrl(context.config.publicUrl, row.tenant_id, row.capability, row.provider),
  )
}

function present(context: Context, row: StoredConnection): View {
  return {
    id: row.id,
    tenantId: row.tenant_id,
    channel: row.capability as z.infer<typeof Channel>,
    provider: row.provider,
    isActive: row.isActive,
    priority: row.priority,
    weight: row.weight,
    version: row.version,
    credentials: row.credentials,
    webhook_url: messagingWebhookUrl(context.config.publicUrl, row.tenant_id, row.capability, row.provider),
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}
