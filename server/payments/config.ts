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
import { paymentWebhookUrl, requirePaymentProvider } from './provider-registry.ts'
import type { ConnectionChange, ConnectionView, ProviderConfig } from './schema.ts'

type View = z.infer<typeof ConnectionView>

/** Payment providers stand side by side: a shop takes cards at one and cash at another. */
export async function saveProvider(
  context: Context,
  scope: TenantScope,
  input: z.infer<typeof ProviderConfig>,
): Promise<View> {
  const saved = await saveConnection(context, scope, requirePaymentProvider(input.provider), {
    capability: 'payments',
    credentials: input.credentials,
    isActive: input.isActive,
    priority: input.priority,
  })
  return present(context, saved)
}

export async function getProviders(context: Context, scope: TenantScope): Promise<View[]> {
  const rows = await getConnections(context, scope, ['payments'], requirePaymentProvider)
  return rows.map((row) => present(context, row))
}

export async function changeProvider(
  context: Context,
  scope: TenantScope,
  id: string,
  change: z.infer<typeof ConnectionChange>,
): Promise<View> {
  return present(context, await changeConnection(context, scope, id, change, requirePaymentProvider))
}

export function checkProvider(context: Context, scope: TenantScope, id: string) {
  return checkConnection(context, scope, id, requirePaymentProvider, (row) =>
    paymentWebhookUrl(context.config.publicUrl, row.tenant_id, row.provider),
  )
}

function present(context: Context, row: StoredConnection): View {
  const { webhooks } = requirePaymentProvider(row.provider).capabilities
  return {
    id: row.id,
    tenantId: row.tenant_id,
    provider: row.provider,
    isActive: row.isActive,
    priority: row.priority,
    version: row.version,
    credentials: row.credentials,
    webhook_url: webhooks ? paymentWebhookUrl(context.config.publicUrl, row.tenant_id, row.provider) : null,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}
