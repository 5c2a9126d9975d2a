import type { Kysely } from 'kysely'
import {
  openConnection,
  type OpenConnection,
  openConnectionsOfProvider,
  providerContext,
  recordAnswers,
  type RecordedAnswer,
} from '#connections'
import type { ProviderContext } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { paymentWebhookUrl, requirePaymentProvider } from './provider-registry.ts'
import type { PaymentProvider } from './providers/provider.ts'

/** A tenant's account at a provider, opened for calls. */
export interface Account {
  connectionId: string
  provider: PaymentProvider
  context: ProviderContext<unknown>
  /** What the provider answered last, without credentials. */
  lastAnswer: () => RecordedAnswer | undefined
}

/** What is written down of where a payment began. */
export interface Beginning {
  connection_id: string
  provider: string
}

/**
 * The account that a payment began with. Where its credentials were replaced by others of the same account, or are
 * gone, the tenant's present ones are taken: refunds come months later, keys are rotated meanwhile.
 * @throws PipeError 422 `connection_missing` when the tenant has none left at this provider
 */
export async function openAccount(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  beginning: Beginning,
): Promise<Account> {
  const provider = requirePaymentProvider(beginning.provider)
  const known = await openConnectionsOfProvider(context, db, scope, 'payments', provider)
  const account = accountAmong(context, scope, beginning, known)
  if (account !== undefined) return account
  const own = await openConnection(context, db, scope, beginning.connection_id, requirePaymentProvider).catch(
    refuseOnly,
  )
  const chosen = presentOne(provider, own, known[0])
  if (chosen === undefined) {
    const text = `Tenant ${scope.tenantId} has no account at ${provider.title} any more. Set one with POST /payments/config/provider.`
    throw new PipeError('connection_missing', 422, text)
  }
  return toAccount(context, scope, chosen)
}

/** `openAccount` where the connections of the provider, newest first, were read: undefined if its own is not among them. */
export function accountAmong(
  context: Context,
  scope: TenantScope,
  beginning: Beginning,
  connections: readonly OpenConnection<unknown>[],
): Account | undefined {
  const own = connections.find(({ id }) => id === beginning.connection_id)
  const chosen = own && presentOne(requirePaymentProvider(beginning.provider), own, connections[0])
  return chosen && toAccount(context, scope, chosen)
}

function presentOne(
  provider: PaymentProvider,
  own: OpenConnection<unknown> | undefined,
  newest: OpenConnection<unknown> | undefined,
): OpenConnection<unknown> | undefined {
  const identity = own && provider.accountOf?.(own.credentials)
  const isRotated = identity !== undefined && newest && provider.accountOf?.(newest.credentials) === identity
  return isRotated ? newest : (own ?? newest)
}

/** Those a tenant has at the same provider beside one, newest first, closed ones too. */
export async function openOtherAccounts(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { provider, connectionId }: Account,
): Promise<Account[]> {
  const known = await openConnectionsOfProvider(context, db, scope, 'payments', provider)
  return known.filter(({ id }) => id !== connectionId).map((one) => toAccount(context, scope, one))
}

/** A connection that is gone or can't be read is none; anything else is a fault. */
function refuseOnly(error: unknown): undefined {
  if (!(error instanceof PipeError) || error.status >= 500) throw error
}

export function toAccount(
  context: Context,
  scope: TenantScope,
  connection: OpenConnection<unknown>,
): Account {
  const provider = requirePaymentProvider(connection.provider.id)
  const webhookUrl = paymentWebhookUrl(context.config.publicUrl, scope.tenantId, provider.id)
  const recorder = recordAnswers(provider, providerContext(context, connection, webhookUrl))
  return { connectionId: connection.id, provider, context: recorder.context, lastAnswer: recorder.lastAnswer }
}
