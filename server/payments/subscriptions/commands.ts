import type { Context } from '#core/context.ts'
import type { StoredToken } from '../commands.ts'
import type { PaymentInput } from '../payments.ts'
import { readJson } from '../presentation.ts'
import { returnUrl } from '../provider-registry.ts'
import type { Customer, MethodChoice, SubscriptionCommand, SubscriptionRef } from '../providers/provider.ts'
import type { Cycle } from './periods.ts'
import type { SubscriptionRow } from './queries.ts'

export function toCycle({ anchor, every, every_count: count }: SubscriptionRow): Cycle {
  return { anchor, every, count }
}

export function toSubscriptionRef(row: SubscriptionRow): SubscriptionRef {
  return {
    subscriptionId: row.id,
    ...(row.provider_subscription_id !== null && { providerSubscriptionId: row.provider_subscription_id }),
    amount: row.amount,
    currency: row.currency,
    createdAt: row.created_at,
    details: JSON.parse(row.details) as Record<string, string>,
  }
}

/** Without a method the customer subscribes on the provider's page. */
export function toSubscriptionCommand(
  context: Context,
  row: SubscriptionRow,
  saved: MethodChoice | undefined,
): SubscriptionCommand {
  const method = saved ?? readToken(row)
  return {
    subscriptionId: row.id,
    tenantId: row.tenant_id,
    amount: row.amount,
    currency: row.currency,
    interval: row.every,
    intervalCount: row.every_count,
    description: row.description,
    customer: JSON.parse(row.customer) as Customer,
    ...(method !== undefined && { method }),
    ...(row.trial_end !== null && { trialEnd: row.trial_end }),
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    returnUrl: returnUrl(context.config.publicUrl, row.return_token),
    key: row.id,
  }
}

function readToken(row: SubscriptionRow): MethodChoice | undefined {
  const stored = readJson<StoredToken>(row.method_token)
  if (stored === null) return undefined
  const { token, brand, issuer } = stored
  return {
    kind: 'token',
    token,
    ...(brand !== undefined && { brand }),
    ...(issuer !== undefined && { issuer }),
  }
}

/** The payment of one period. */
export function toPaymentInput(row: SubscriptionRow, amount: number): PaymentInput {
  return {
    tenant_id: row.tenant_id,
    amount,
    currency: row.currency,
    capture: 'automatic',
    installments: 1,
    description: row.description,
    reference: row.reference ?? undefined,
    customer: JSON.parse(row.customer) as Customer,
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    method_id: row.method_id ?? undefined,
    subscriptionId: row.id,
  }
}
