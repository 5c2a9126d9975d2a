import type { List, Named, StripeObject } from './stripe-objects.ts'

export type Product = Named & {
  object: 'product'
  name: string
  description: string | null
  active: boolean
  updated: number
}

export type Interval = 'day' | 'week' | 'month' | 'year'

export type Price = Named & {
  object: 'price'
  active: boolean
  billing_scheme: 'per_unit'
  currency: string
  lookup_key: string | null
  nickname: string | null
  product: string
  recurring: { interval: Interval; interval_count: number; usage_type: 'licensed' } | null
  type: 'recurring' | 'one_time'
  unit_amount: number
  unit_amount_decimal: string
}

export type SubscriptionItem = {
  id: string
  object: 'subscription_item'
  created: number
  current_period_end: number
  current_period_start: number
  metadata: Record<string, string>
  price: Price
  quantity: number
  subscription: string
}

export type Subscription = Named & {
  object: 'subscription'
  status:
    | 'incomplete'
    | 'incomplete_expired'
    | 'trialing'
    | 'active'
    | 'past_due'
    | 'canceled'
    | 'unpaid'
    | 'paused'
  billing_cycle_anchor: number
  cancel_at: number | null
  cancel_at_period_end: boolean
  canceled_at: number | null
  cancellation_details: { reason: string | null }
  collection_method: 'charge_automatically' | 'send_invoice'
  currency: string
  customer: string
  default_payment_method: string | null
  description: string | null
  ended_at: number | null
  items: List<SubscriptionItem>
  latest_invoice: string | null
  pause_collection: {
    behavior: 'keep_as_draft' | 'mark_uncollectible' | 'void'
    resumes_at: number | null
  } | null
  payment_settings: { save_default_payment_method: 'off' | 'on_subscription' }
  start_date: number
  trial_end: number | null
  trial_settings: { end_behavior: { missing_payment_method: 'cancel' | 'create_invoice' | 'pause' } }
  trial_start: number | null
}

export type InvoiceLine = {
  id: string
  object: 'line_item'
  amount: number
  currency: string
  description: string
  period: { start: number; end: number }
  quantity: number
  pricing: { type: 'price_details'; price_details: { price: string; product: string } }
}

export type Invoice = Named & {
  object: 'invoice'
  status: 'draft' | 'open' | 'paid' | 'uncollectible' | 'void'
  amount_due: number
  amount_paid: number
  amount_remaining: number
  attempt_count: number
  attempted: boolean
  auto_advance: boolean
  billing_reason: 'subscription_create' | 'subscription_cycle' | 'subscription_update'
  collection_method: 'charge_automatically' | 'send_invoice'
  currency: string
  customer: string
  hosted_invoice_url: string | null
  lines: List<InvoiceLine>
  next_payment_attempt: number | null
  number: string | null
  parent: {
    type: 'subscription_details'
    subscription_details: { subscription: string; metadata: Record<string, string> }
  }
  period_end: number
  period_start: number
  status_transitions: Record<
    'finalized_at' | 'paid_at' | 'voided_at' | 'marked_uncollectible_at',
    number | null
  >
  subtotal: number
  total: number
}

export type InvoicePayment = StripeObject & {
  object: 'invoice_payment'
  status: 'open' | 'paid' | 'canceled'
  amount_paid: number | null
  amount_requested: number
  currency: string
  invoice: string
  is_default: boolean
  payment: { type: 'payment_intent'; payment_intent: string }
}

export type LineItem = {
  id: string
  object: 'item'
  amount_subtotal: number
  amount_total: number
  currency: string
  description: string
  price: Price
  quantity: number
}
