import type { Context } from '#core/context.ts'
import { readJson } from './presentation.ts'
import { returnUrl } from './provider-registry.ts'
import type {
  CheckoutCommand,
  CheckoutItem,
  Customer,
  MethodChoice,
  PaymentCommand,
  PaymentRef,
} from './providers/provider.ts'
import type { PaymentRow } from './queries.ts'

/** The one-time token of the customer's browser, as it waits for its use. */
export interface StoredToken {
  token: string
  brand?: string | undefined
  issuer?: string | undefined
}

export function toRef(payment: PaymentRow): PaymentRef {
  return {
    paymentId: payment.id,
    flow: payment.flow,
    ...(payment.provider_payment_id !== null && { providerPaymentId: payment.provider_payment_id }),
    ...(payment.provider_checkout_id !== null && { providerCheckoutId: payment.provider_checkout_id }),
    amount: payment.amount,
    currency: payment.currency,
    captured: payment.captured,
    refunded: payment.refunded,
    capture: payment.capture,
    createdAt: payment.created_at,
    details: JSON.parse(payment.details) as Record<string, string>,
  }
}

export function toPaymentCommand(
  context: Context,
  payment: PaymentRow,
  saved: Extract<MethodChoice, { kind: 'saved' }> | undefined,
): PaymentCommand {
  return {
    ...newPaymentOf(context, payment),
    method: saved ?? readToken(payment),
    installments: payment.installments,
    offSession: payment.subscription_id !== null,
  }
}

export function toCheckoutCommand(context: Context, payment: PaymentRow): CheckoutCommand {
  const items = readJson<Array<{ title: string; quantity: number; unit_amount: number }>>(payment.items)
  const title = payment.description ?? payment.reference ?? 'Payment'
  const lines: CheckoutItem[] = items?.map(({ title: name, quantity, unit_amount: unitAmount }) => ({
    title: name,
    quantity,
    unitAmount,
  })) ?? [{ title, quantity: 1, unitAmount: payment.amount }]
  const command = newPaymentOf(context, payment)
  return {
    ...command,
    items: lines,
    cancelUrl: `${command.returnUrl}?pipecore_canceled=1`,
    ...(payment.expires_at !== null && { expiresAt: payment.expires_at }),
  }
}

function newPaymentOf(context: Context, payment: PaymentRow) {
  return {
    paymentId: payment.id,
    tenantId: payment.tenant_id,
    amount: payment.amount,
    currency: payment.currency,
    capture: payment.capture,
    ...(payment.description !== null && { description: payment.description }),
    customer: JSON.parse(payment.customer) as Customer,
    metadata: JSON.parse(payment.metadata) as Record<string, string>,
    returnUrl: returnUrl(context.config.publicUrl, payment.return_token),
    key: payment.id,
  }
}

function readToken(payment: PaymentRow): MethodChoice {
  const stored = readJson<StoredToken>(payment.method_token)
  return {
    kind: 'token',
    token: stored?.token ?? '',
    ...(stored?.brand !== undefined && { brand: stored.brand }),
    ...(stored?.issuer !== undefined && { issuer: stored.issuer }),
  }
}
