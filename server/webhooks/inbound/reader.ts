import type { Provider } from '#connections'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import type { JobDefinition, Module } from '#core/module.ts'
import type { LoadedWebhook, RecordedWebhook, StoredWebhook } from './inbound.ts'
import type { FactRow } from './queries.ts'

declare module '#core/module.ts' {
  interface Module {
    /** How the webhooks of its capabilities are read again. */
    webhookReader?: WebhookReader
  }
}

/** One thing that a webhook says, and what would follow if it were taken now. */
export interface ForeseenReport {
  /** What `recordFact` knows it by. */
  key: string
  /** A sentence: what the provider says. */
  says: string
  /** The fact, when it was taken before. */
  taken: FactRow | undefined
  /** A sentence: what would follow. */
  effect: string
  events: readonly ForeseenEvent[]
}

export interface ForeseenEvent {
  type: string
  /** Null: what it will be about does not exist yet. */
  entity: string | null
}

/** An event that was recorded, as far as the vault shows it. */
export interface FollowedEvent {
  id: string
  type: string
  entity: string
  trace_id: string
  occurred_at: string
}

/** What a module that takes webhooks over offers, so that one of them can be looked at and replayed. */
export interface WebhookReader {
  capabilities: readonly string[]
  /** The same that takes a webhook when it comes: a fact that was taken is not taken again. */
  job: JobDefinition<StoredWebhook>
  findProvider(id: string, capability: string): Provider<unknown>
  /** Everything that the webhook says now. Calls nobody and changes nothing. */
  foresee(context: Context, scope: TenantScope, webhook: LoadedWebhook): Promise<ForeseenReport[]>
  /** The events that followed from it until then, oldest first. */
  followed(
    context: Context,
    scope: TenantScope,
    webhook: RecordedWebhook,
    until: Date,
  ): Promise<FollowedEvent[]>
}

export function findReader(modules: readonly Module[], capability: string): WebhookReader {
  const reader = modules
    .map((module) => module.webhookReader)
    .find((one) => one?.capabilities.includes(capability))
  if (reader === undefined) throw new Error(`No module reads webhooks of ${capability}.`)
  return reader
}
