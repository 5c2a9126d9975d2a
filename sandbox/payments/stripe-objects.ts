/** Stripe's objects as they are kept and answered. Times are seconds. */
export type StripeObject = {
  id: string
  object: string
  created: number
  /** Absent from balance transactions only. */
  livemode?: boolean
  metadata?: Record<string, string>
  status?: string | null
}

export type Named = StripeObject & { metadata: Record<string, string> }

export type List<Item> = { object: 'list'; url: string; has_more: boolean; data: Item[] }

export type NextAction =
  | { type: 'redirect_to_url'; redirect_to_url: { url: string; return_url: string } }
  | { type: 'use_stripe_sdk'; use_stripe_sdk: Record<string, unknown> }

/** Why a card did not do: of an error, of `last_payment_error` and of `last_setup_error`. */
export type CardFailure = {
  type: 'card_error' | 'invalid_request_error'
  code: string
  message: string
  doc_url: string
  decline_code?: string
  advice_code?: string
  network_decline_code?: string
  charge?: string
  payment_method?: PaymentMethod
}

export type PaymentIntent = Named & {
  object: 'payment_intent'
  status:
    | 'requires_payment_method'
    | 'requires_confirmation'
    | 'requires_action'
    | 'processing'
    | 'requires_capture'
    | 'canceled'
    | 'succeeded'
  amount: number
  amount_capturable: number
  amount_received: number
  automatic_payment_methods: { enabled: boolean; allow_redirects: 'always' | 'never' } | null
  canceled_at: number | null
  cancellation_reason: string | null
  capture_method: 'automatic' | 'automatic_async' | 'manual'
  client_secret: string
  confirmation_method: 'automatic'
  currency: string
  customer: string | null
  description: string | null
  last_payment_error: CardFailure | null
  latest_charge: string | null
  next_action: NextAction | null
  payment_method: string | null
  payment_method_types: string[]
  processing: null
  receipt_email: string | null
  setup_future_usage: 'on_session' | 'off_session' | null
  statement_descriptor: string | null
  statement_descriptor_suffix: string | null
}

export type Charge = Named & {
  object: 'charge'
  status: 'succeeded' | 'pending' | 'failed'
  amount: number
  amount_captured: number
  amount_refunded: number
  authorization_code: string | null
  balance_transaction: string | null
  billing_details: { email: string | null; name: string | null; phone: string | null }
  captured: boolean
  currency: string
  customer: string | null
  description: string | null
  disputed: boolean
  failure_code: string | null
  failure_message: string | null
  outcome: { network_status: string; reason: string | null; seller_message: string; type: string }
  paid: boolean
  payment_intent: string
  payment_method: string
  payment_method_details: { type: 'card'; card: CardDetails & { capture_before?: number } }
  receipt_email: string | null
  refunded: boolean
}

export type CardDetails = {
  brand: string
  country: string
  exp_month: number
  exp_year: number
  fingerprint: string
  funding: 'credit' | 'debit' | 'prepaid'
  last4: string
}

export type PaymentMethod = Named & {
  object: 'payment_method'
  type: 'card'
  billing_details: { email: string | null; name: string | null; phone: string | null }
  card: CardDetails & { three_d_secure_usage: { supported: boolean } }
  customer: string | null
}

export type Customer = Named & {
  object: 'customer'
  email: string | null
  name: string | null
  phone: string | null
  description: string | null
  balance: number
  delinquent: boolean
  invoice_settings: { default_payment_method: string | null }
  deleted?: true
}

export type Refund = Named & {
  object: 'refund'
  status: 'succeeded' | 'pending' | 'requires_action' | 'failed' | 'canceled'
  amount: number
  balance_transaction: string | null
  charge: string
  currency: string
  destination_details: { type: 'card'; card: { type: 'refund' | 'reversal' | 'pending' } }
  failure_reason?: string
  payment_intent: string
  pending_reason?: string
  reason: string | null
}

export type SetupIntent = Named & {
  object: 'setup_intent'
  status:
    | 'requires_payment_method'
    | 'requires_confirmation'
    | 'requires_action'
    | 'processing'
    | 'canceled'
    | 'succeeded'
  cancellation_reason: string | null
  client_secret: string
  customer: string | null
  description: string | null
  last_setup_error: CardFailure | null
  latest_attempt: string | null
  next_action: NextAction | null
  payment_method: string | null
  payment_method_types: string[]
  usage: 'on_session' | 'off_session'
}

export type CheckoutSession = Named & {
  object: 'checkout.session'
  status: 'open' | 'complete' | 'expired'
  payment_status: 'paid' | 'unpaid' | 'no_payment_required'
  mode: 'payment' | 'setup' | 'subscription'
  ui_mode: string
  url: string | null
  amount_subtotal: number | null
  amount_total: number | null
  cancel_url: string | null
  client_reference_id: string | null
  currency: string | null
  customer: string | null
  customer_details: { email: string | null; name: string | null; phone: string | null } | null
  customer_email: string | null
  expires_at: number
  invoice: string | null
  locale: string | null
  payment_intent: string | null
  payment_method_types: string[]
  setup_intent: string | null
  subscription: string | null
  success_url: string | null
}

export type Dispute = Named & {
  object: 'dispute'
  status: string
  amount: number
  charge: string
  currency: string
  evidence: Record<string, string>
  evidence_details: { due_by: number; has_evidence: boolean; past_due: boolean; submission_count: number }
  is_charge_refundable: boolean
  payment_intent: string
  reason: string
}

export type BalanceTransaction = StripeObject & {
  object: 'balance_transaction'
  amount: number
  available_on: number
  currency: string
  description: string | null
  exchange_rate: null
  fee: number
  net: number
  payout: string | null
  reporting_category: string
  source: string
  status: 'available' | 'pending'
  type: 'charge' | 'refund' | 'adjustment' | 'refund_failure'
}

export type WebhookEndpoint = Named & {
  object: 'webhook_endpoint'
  status: 'enabled' | 'disabled'
  api_version: string | null
  application: string | null
  description: string | null
  enabled_events: string[]
  url: string
}
