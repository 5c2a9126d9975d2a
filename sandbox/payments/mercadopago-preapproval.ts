import { randomBytes } from 'node:crypto'
import { toMajor } from './amounts.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import type { Card } from './mercadopago-cards.ts'
import type { Invoice } from './mercadopago-renewals.ts'
import { writeTime } from './mercadopago-sites.ts'
import { notify } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

export type Frequency = { count: number; type: 'days' | 'months' }

export type Terms = {
  /** Minor units. */
  amount: number
  currency: string
  every: Frequency
  freeTrial: Frequency | null
  startAt: Date | null
  endAt: Date | null
  /** How many charges there are; null is without end. */
  repetitions: number | null
  /** Day of the month from the second charge on. */
  billingDay: number | null
}

export type Plan = {
  id: string
  account: MercadopagoAccount
  status: 'active' | 'cancelled'
  reason: string
  backUrl: string
  terms: Terms
  createdAt: Date
  updatedAt: Date
}

/** A subscription. `authorized` means that it may be charged, not that it was. */
export type Preapproval = {
  id: string
  account: MercadopagoAccount
  plan: Plan | null
  status: 'pending' | 'authorized' | 'paused' | 'cancelled'
  reason: string
  externalReference: string | null
  backUrl: string
  notificationUrl: string | null
  payerEmail: string
  payerId: number
  card: Card | null
  terms: Terms
  /** Counts every change. */
  version: number
  /** When charges began, and how many dates there have been: dates never drift. */
  firstAt: Date | null
  datesPassed: number
  nextAt: Date | null
  charges: number
  charged: number
  lastChargeAt: Date | null
  unpaidInARow: number
  invoices: Invoice[]
  createdAt: Date
  updatedAt: Date
}

export function createPreapprovalId(): string {
  return `2c9380${randomBytes(13).toString('hex')}`
}

/** Over for good. */
export function endPreapproval(turn: Turn, preapproval: Preapproval): void {
  if (preapproval.status === 'cancelled') return
  preapproval.status = 'cancelled'
  touch(turn, preapproval)
  tellPreapproval(turn, preapproval, 'updated')
}

export function touch({ mercadopago }: Turn, preapproval: Preapproval): void {
  preapproval.version += 1
  preapproval.updatedAt = mercadopago.world.now()
}

export function tellPreapproval(turn: Turn, preapproval: Preapproval, action: 'created' | 'updated'): void {
  const { account, notificationUrl, id, version } = preapproval
  notify(turn, {
    topic: 'subscription_preapproval',
    action,
    id,
    url: account.options.subscription_webhooks === 'request' ? notificationUrl : null,
    lane: id,
    extra: { application_id: account.applicationId, entity: 'preapproval', version },
  })
}

export function viewPreapproval(preapproval: Preapproval, origin: string): Record<string, unknown> {
  const { account, card, plan, terms } = preapproval
  const write = (date: Date | null) => (date === null ? null : writeTime(date))
  return {
    id: preapproval.id,
    version: preapproval.version,
    status: preapproval.status,
    init_point: `${origin}/mercadopago/subscriptions/checkout?preapproval_id=${preapproval.id}`,
    preapproval_plan_id: plan?.id ?? null,
    payer_id: preapproval.payerId,
    payer_email: preapproval.payerEmail,
    collector_id: account.userId,
    application_id: account.applicationId,
    reason: preapproval.reason,
    external_reference: preapproval.externalReference,
    back_url: preapproval.backUrl,
    card_id: card?.id ?? null,
    payment_method_id: card?.method.id ?? null,
    first_invoice_offset: null,
    next_payment_date: write(preapproval.nextAt),
    auto_recurring: viewTerms(terms),
    summarized: viewSummary(preapproval),
    date_created: writeTime(preapproval.createdAt),
    last_modified: writeTime(preapproval.updatedAt),
  }
}

export function viewTerms(terms: Terms): Record<string, unknown> {
  return {
    frequency: terms.every.count,
    frequency_type: terms.every.type,
    transaction_amount: toMajor(terms.amount, terms.currency),
    currency_id: terms.currency,
    free_trial: terms.freeTrial && {
      frequency: terms.freeTrial.count,
      frequency_type: terms.freeTrial.type,
    },
    ...(terms.startAt ? { start_date: writeTime(terms.startAt) } : {}),
    ...(terms.endAt ? { end_date: writeTime(terms.endAt) } : {}),
    ...(terms.repetitions === null ? {} : { repetitions: terms.repetitions }),
    ...(terms.billingDay === null ? {} : { billing_day: terms.billingDay }),
  }
}

function viewSummary(preapproval: Preapproval): Record<string, unknown> {
  const { terms, charges, charged, lastChargeAt } = preapproval
  const major = (minor: number) => toMajor(minor, terms.currency)
  const left = terms.repetitions === null ? null : terms.repetitions - charges
  return {
    quotas: terms.repetitions,
    charged_quantity: charges === 0 ? null : charges,
    charged_amount: charges === 0 ? null : major(charged),
    pending_charge_quantity: left,
    pending_charge_amount: left === null ? null : major(terms.amount * left),
    semaphore: semaphoreOf(preapproval),
    last_charged_date: lastChargeAt && writeTime(lastChargeAt),
    last_charged_amount: charges === 0 ? null : major(terms.amount),
  }
}

function semaphoreOf({ status, unpaidInARow, invoices }: Preapproval): string | null {
  if (status === 'pending') return null
  if (unpaidInARow > 0) return 'red'
  return invoices.at(-1)?.status === 'recycling' ? 'yellow' : 'green'
}
