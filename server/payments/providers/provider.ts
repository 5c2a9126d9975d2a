import type { Outcome, Provider, ProviderContext, RawWebhook } from '#connections'
import type { FieldError } from '#core/errors.ts'
import type { FailureCode } from '../failures.ts'
import type { WireTable } from '../money.ts'

export type PaymentStatus =
  | 'requires_action'
  | 'pending'
  | 'processing'
  | 'authorized'
  | 'confirmed'
  | 'failed'
  | 'canceled'
  | 'expired'
  | 'unknown'

export type RefundStatus = 'pending' | 'succeeded' | 'failed' | 'canceled' | 'unknown'

export type SubscriptionStatus =
  | 'pending'
  | 'trialing'
  | 'active'
  | 'past_due'
  | 'paused'
  | 'canceled'
  | 'expired'
  | 'unknown'

export type MethodType = 'card' | 'debit' | 'prepaid' | 'bank' | 'cash' | 'wallet' | 'other'

/** What the customer has to do next: be sent there, by a link or by a form with these fields. */
export interface NextAction {
  kind: 'redirect'
  method: 'GET' | 'POST'
  url: string
  /** Empty for GET. */
  fields: Readonly<Record<string, string>>
}

/** Why money was not taken. The texts for customers belong to the code. */
export interface Failure {
  code: FailureCode
  /** As the provider wrote it: `cc_rejected_…`, a `decline_code`, a `response_code`. */
  providerCode: string
  /** The same method again, later; another method; or no use. */
  retry: 'same' | 'other_method' | 'never'
}

export interface MethodSummary {
  type: MethodType
  /** Lower case: `visa`. */
  brand?: string
  last4?: string
  installments?: number
}

export interface Customer {
  /** The caller's own id. */
  reference?: string
  email?: string
  name?: string
  phone?: string
  /** National document: RUT, CPF, DNI … */
  document?: { type: string; number: string }
}

/** How a payment is found at its provider. Amounts are minor units of ISO 4217. */
export interface PaymentRef {
  /** Ours (`pay_…`): it travels as the reference of every call that makes a payment. */
  paymentId: string
  /** `checkout`: the customer pays on a page of the provider; `direct`: we charged a method. */
  flow: 'direct' | 'checkout'
  providerPaymentId?: string
  /** Stripe session, MercadoPago preference, Webpay token. */
  providerCheckoutId?: string
  amount: number
  currency: string
  /** Taken so far, as we know it. */
  captured: number
  refunded: number
  capture: 'automatic' | 'manual'
  createdAt: Date
  /** What the provider gave for later calls, such as an authorization code. */
  details: Readonly<Record<string, string>>
}

/** What a provider says of a payment now. The core compares it with what it knew; the provider never emits events. */
export interface PaymentSnapshot {
  /** Absent while a checkout has no payment yet. */
  providerPaymentId?: string
  providerCheckoutId?: string
  /** `unknown` only for a word of the provider that we do not know. */
  status: PaymentStatus
  /** As the provider has it; absent where it does not say. */
  amount?: number
  currency?: string
  captured: number
  /** Sum of refunds that succeeded. */
  refunded: number
  /** Every refund there is, where the provider keeps a list; absent where it does not. */
  refunds?: readonly RefundSnapshot[]
  action?: NextAction
  failure?: Failure
  dispute?: { status: 'open' | 'under_review' | 'won' | 'lost'; providerDisputeId?: string }
  method?: MethodSummary
  /** When what is open now ends by itself: a form, a session, an authorization. */
  expiresAt?: Date
  details?: Readonly<Record<string, string>>
}

export interface RefundSnapshot {
  /** Made up where the provider has none (Transbank): the same for the same refund. */
  providerRefundId: string
  /** Ours (`rfd_…`) where it comes back. */
  refundId?: string
  amount: number
  status: RefundStatus
  /** `reversal`: the sale never shows on the customer's statement. */
  kind?: 'refund' | 'reversal'
  failure?: Failure
}

/** A method saved before, in the provider's own terms, or a one-time token that its browser library made. */
export type MethodChoice =
  | { kind: 'saved'; token: Readonly<Record<string, string>>; customer: Customer }
  | { kind: 'token'; token: string; brand?: string; issuer?: string }

interface NewPayment {
  paymentId: string
  tenantId: string
  amount: number
  currency: string
  capture: 'automatic' | 'manual'
  description?: string
  customer: Customer
  metadata: Readonly<Record<string, string>>
  /** Ours: where the customer comes back to; GET or POST, parameters may be appended. At most 200 characters. */
  returnUrl: string
  /** Idempotency key of this call; the same for every repetition of it. At most 64 characters. */
  key: string
}

export interface PaymentCommand extends NewPayment {
  method: MethodChoice
  installments: number
  /** The customer is not there: a renewal. */
  offSession: boolean
}

export interface CheckoutItem {
  title: string
  quantity: number
  /** Minor units. */
  unitAmount: number
}

export interface CheckoutCommand extends NewPayment {
  /** Their sum is the amount. */
  items: readonly CheckoutItem[]
  expiresAt?: Date
  /** Where the customer goes who gives up; ours as well. */
  cancelUrl: string
}

export interface RefundCommand {
  refundId: string
  amount: number
  /** It gives back all that is left. */
  isFull: boolean
  key: string
}

export interface MethodRef {
  methodId: string
  /** Under way: the inscription's token at the provider. */
  providerInscriptionId?: string
  customer: Customer
}

export interface MethodCommand extends MethodRef {
  tenantId: string
  /** What the provider's browser library made; absent where the customer enters the card on the provider's page. */
  token?: string
  returnUrl: string
  key: string
}

export interface MethodSnapshot {
  status: 'pending' | 'active' | 'failed' | 'canceled'
  providerInscriptionId?: string
  /** What later charges need; kept sealed. */
  token?: Readonly<Record<string, string>>
  summary?: MethodSummary
  action?: NextAction
  failure?: Failure
}

export type Interval = 'day' | 'week' | 'month' | 'year'

export interface SubscriptionRef {
  subscriptionId: string
  providerSubscriptionId?: string
  amount: number
  currency: string
  createdAt: Date
  details: Readonly<Record<string, string>>
}

export interface SubscriptionCommand {
  subscriptionId: string
  tenantId: string
  amount: number
  currency: string
  interval: Interval
  intervalCount: number
  description: string
  customer: Customer
  /** Absent: the customer subscribes on the provider's page, where it has one. */
  method?: MethodChoice
  trialEnd?: Date
  metadata: Readonly<Record<string, string>>
  returnUrl: string
  key: string
}

export interface SubscriptionChange {
  amount?: number
  method?: MethodChoice
  paused?: boolean
  cancelAtPeriodEnd?: boolean
  key: string
}

/** One period's charge: a Stripe invoice, a MercadoPago authorized payment. */
export interface SubscriptionCharge {
  providerChargeId: string
  /** `retrying`: it failed and the provider will try again. */
  status: 'scheduled' | 'paid' | 'retrying' | 'failed'
  amount: number
  currency: string
  periodStart?: Date
  periodEnd?: Date
  providerPaymentId?: string
  /** It begins the subscription rather than renewing it. */
  isFirst: boolean
  /** How often it was tried so far, where the provider says. */
  attempt?: number
  failure?: Failure
}

export interface SubscriptionSnapshot {
  providerSubscriptionId: string
  status: SubscriptionStatus
  amount?: number
  currency?: string
  currentPeriodStart?: Date
  currentPeriodEnd?: Date
  cancelAtPeriodEnd?: boolean
  trialEnd?: Date
  action?: NextAction
  failure?: Failure
  /** The latest, oldest first. */
  charges: readonly SubscriptionCharge[]
  details?: Readonly<Record<string, string>>
}

interface NoticeHead {
  /** Same fact, same key: what duplicates are recognised by. */
  key: string
  /** The provider's own name for it: `payment_intent.succeeded`. */
  topic: string
}

export interface PaymentNotice extends NoticeHead {
  about: 'payment'
  providerPaymentId?: string
  providerCheckoutId?: string
  paymentId?: string
}

/** What a webhook is about; what became of it is always read back from the provider. */
export type Notice = PaymentNotice | (NoticeHead & OtherNotice)

type OtherNotice =
  | { about: 'subscription'; providerSubscriptionId?: string; subscriptionId?: string }
  /** Names something else; `locate` tells what it belongs to, unless that is the payment of `own` and we know that. */
  | { about: 'resource'; resource: string; id: string; own?: PaymentNotice }
  | { about: 'account'; detail: string }

/** What the parameters of a return mean, before anybody is asked. */
export type ReturnReading =
  /** The provider waits for our confirmation: only then is money taken. */
  | { next: 'commit' }
  /** Read the payment; if it still waits for the customer, this is what it became. */
  | { next: 'read'; otherwise?: 'canceled' | 'expired' | 'failed' }
  /** Not a return of this payment. */
  | { next: 'refuse'; reason: string }

/** What may still be done and until when; what the contracts leave open is overridden per connection. */
export interface Windows {
  refundDays: number
  /** Absent: what is authorized can't be captured later. */
  captureDays?: number
  /** The whole amount given back this soon never reaches the customer's statement. */
  reversalMs?: number
  /** Methods that are given back only as a whole. */
  fullRefundOnly?: readonly MethodType[]
}

export interface PaymentCapabilities {
  /** ISO 4217 code → decimals in the provider's amounts. A currency that is not here is refused before any call. */
  wire: WireTable
  /** For how long an idempotency key is honoured on calls that act: an unknown call may be repeated under it. */
  idempotency: { keptMs: number } | undefined
  /** One-time tokens of the provider's browser library. */
  tokens: boolean
  savedMethods: boolean
  partialCapture: boolean
  partialRefund: boolean
  /** A payment that waits for the customer, or is authorized, can be canceled. */
  cancel: 'authorized' | 'authorized_or_open' | 'no'
  subscriptions: 'native' | 'emulated' | 'none'
  webhooks: boolean
}

type Result<Done> = Promise<Outcome<Done>>

export interface NativeSubscriptions<Credentials> {
  /** A creation that is repeated under its key makes no second subscription. */
  keepsKeys?: boolean
  create(
    command: SubscriptionCommand,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: SubscriptionSnapshot }>
  /** By the provider's id, else by ours. Undefined: the provider certainly knows nothing of it. */
  read(
    ref: SubscriptionRef,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: SubscriptionSnapshot | undefined }>
  update(
    ref: SubscriptionRef,
    change: SubscriptionChange,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: SubscriptionSnapshot }>
  /** At once. */
  cancel(
    ref: SubscriptionRef,
    key: string,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: SubscriptionSnapshot }>
}

/**
 * A payment provider maps and calls; the core owns state, keys, retries, repair and storage. Verbs never throw:
 * `done` with a snapshot also for a decline, `refused` when certainly nothing happened (kind `state` when the
 * payment's state does not allow it: it is read then), `unknown` when nobody knows.
 */
export interface PaymentProvider<Credentials = unknown> extends Provider<Credentials> {
  capabilities: PaymentCapabilities
  /** Which account of the provider credentials belong to, as far as they tell: rotated keys are of the same one. */
  accountOf?(credentials: Credentials): string | undefined
  windows(credentials: Credentials): Windows
  /** What can be told to be impossible before anything is stored; fields as in the request. */
  checkPayment?(command: PaymentCommand | CheckoutCommand, credentials: Credentials): FieldError[]
  createPayment?(
    command: PaymentCommand,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: PaymentSnapshot }>
  createCheckout(
    command: CheckoutCommand,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: PaymentSnapshot }>
  /** By the provider's ids, else by our reference. Undefined: the provider certainly knows nothing of it. */
  read(
    ref: PaymentRef,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: PaymentSnapshot | undefined }>
  /** `amount` is what to take: at most what is authorized. */
  capture?(
    ref: PaymentRef,
    amount: number,
    key: string,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: PaymentSnapshot }>
  cancel?(
    ref: PaymentRef,
    key: string,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: PaymentSnapshot }>
  refund(
    ref: PaymentRef,
    command: RefundCommand,
    context: ProviderContext<Credentials>,
  ): Result<{ refund: RefundSnapshot }>
  /** Pure. Absent: a return only makes us read. `parameters` are those of query and form together. */
  readReturn?(ref: PaymentRef, parameters: URLSearchParams): ReturnReading
  /** Confirms a payment that the customer made on the provider's page. */
  commit?(ref: PaymentRef, context: ProviderContext<Credentials>): Result<{ snapshot: PaymentSnapshot }>
  saveMethod?(
    command: MethodCommand,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: MethodSnapshot }>
  /** After the customer's return. */
  finishMethod?(
    ref: MethodRef,
    parameters: URLSearchParams,
    context: ProviderContext<Credentials>,
  ): Result<{ snapshot: MethodSnapshot }>
  removeMethod?(
    token: Readonly<Record<string, string>>,
    ref: MethodRef,
    context: ProviderContext<Credentials>,
  ): Result<object>
  subscriptions?: NativeSubscriptions<Credentials>
  /** Pure: every notice of the webhook. Unknown kinds are skipped, never an error. */
  parse(webhook: RawWebhook, receivedAt: Date): Notice[]
  /** Finds what a notice about another resource is about. */
  locate?(
    notice: Extract<Notice, { about: 'resource' }>,
    context: ProviderContext<Credentials>,
  ): Result<{ notices: readonly Notice[] }>
  /** Payments made or changed since, oldest first; ours carry `paymentId`. Absent: the provider has no list. */
  list?(
    since: Date,
    cursor: string | undefined,
    context: ProviderContext<Credentials>,
  ): Result<{ payments: ReadonlyArray<{ paymentId?: string; snapshot: PaymentSnapshot }>; next?: string }>
}
