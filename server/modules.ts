import { alerts } from '#alerts'
import { connections } from '#connections'
import type { MigrationSource } from '#core/migrate.ts'
import type { Module } from '#core/module.ts'
import { jobs } from '#jobs'
import { messaging, messagingProviderIds } from '#messaging'
import { paymentProviderIds, payments } from '#payments'
import { tenants } from '#tenants'
import { inboundWebhooks } from '#webhooks/inbound'
import { outboundWebhooks } from '#webhooks/outbound'

/** In dependency order: a module may need only those above it. */
export const modules: readonly Module[] = [
  tenants,
  jobs,
  connections,
  inboundWebhooks,
  outboundWebhooks,
  messaging,
  payments,
  alerts,
]

export const providerIds: readonly string[] = [...messagingProviderIds, ...paymentProviderIds]

export const migrationSources: readonly MigrationSource[] = [
  { module: 'core', folder: new URL('./core/migrations/', import.meta.url) },
  ...modules.flatMap(({ name, migrations }) =>
    migrations === undefined ? [] : [{ module: name, folder: migrations }],
  ),
]
