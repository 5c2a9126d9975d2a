import { z } from 'zod'
import type { Price, Subscription } from './stripe-billing-objects.ts'
import { DAY_SECONDS } from './stripe-billing.ts'
import { invalidRequest } from './stripe-errors.ts'
import { boolean, ignored, integer, metadata, optionalText, text } from './stripe-params.ts'
import { priceData, resolvePrice } from './stripe-plans.ts'
import type { Work } from './stripe-state.ts'

/** Unlike a checkout, a subscription takes no product that is not there yet. */
export const itemPrice = priceData.omit({ product_data: true })

export const trialSettings = z
  .strictObject({
    end_behavior: z.strictObject({
      billing_cycle_anchor: ignored,
      missing_payment_method: z.enum(['cancel', 'create_invoice', 'pause']).optional(),
    }),
  })
  .optional()

export const trialEnd = z.union([z.literal('now'), integer]).optional()

export const subscriptionParams = z.strictObject({
  automatic_tax: ignored,
  billing_mode: ignored,
  cancel_at: integer.optional(),
  cancel_at_period_end: boolean.optional(),
  collection_method: z.enum(['charge_automatically', 'send_invoice']).optional(),
  currency: text.optional(),
  customer: text,
  days_until_due: integer.optional(),
  default_payment_method: text.optional(),
  description: optionalText,
  items: z
    .array(
      z.strictObject({
        metadata,
        price: text.optional(),
        price_data: itemPrice.optional(),
        quantity: integer.optional(),
      }),
    )
    .min(1)
    .max(20),
  metadata,
  off_session: boolean.optional(),
  payment_behavior: z
    .enum(['default_incomplete', 'allow_incomplete', 'error_if_incomplete', 'pending_if_incomplete'])
    .default('allow_incomplete'),
  payment_settings: z
    .strictObject({
      payment_method_options: ignored,
      payment_method_types: ignored,
      save_default_payment_method: z.enum(['off', 'on_subscription']).optional(),
    })
    .optional(),
  proration_behavior: ignored,
  trial_end: trialEnd,
  trial_period_days: integer.optional(),
  trial_settings: trialSettings,
})

export type SubscriptionParams = z.infer<typeof subscriptionParams>

export function recurringPrice(
  work: Work,
  line: { price?: string | undefined; price_data?: z.infer<typeof priceData> | undefined },
  param: string,
): Price {
  const price = resolvePrice(work, line, param)
  if (price.recurring) return price
  const message =
    'The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.'
  throw invalidRequest(message, { param: `${param}[price]` })
}

export function checkCurrencies(prices: readonly Price[]): void {
  if (new Set(prices.map(({ currency }) => currency)).size <= 1) return
  throw invalidRequest('All prices on a subscription must have the same currency.', { param: 'items' })
}

export function readTrialEnd(
  work: Work,
  {
    trial_end: end,
    trial_period_days: days,
  }: { trial_end?: 'now' | number | undefined; trial_period_days?: number | undefined },
): number | null {
  if (end !== undefined && days !== undefined) {
    const message = 'You may only specify one of these parameters: trial_end, trial_period_days.'
    throw invalidRequest(message, { code: 'parameters_exclusive' })
  }
  if (days !== undefined) return days > 0 ? work.at + days * DAY_SECONDS : null
  if (end === undefined || end === 'now') return null
  if (end > work.at) return end
  throw invalidRequest('Invalid timestamp: must be an integer Unix timestamp in the future.', {
    param: 'trial_end',
  })
}

export function readTrialSettings(given: z.infer<typeof trialSettings>): Subscription['trial_settings'] {
  const behaviour = given?.end_behavior.missing_payment_method ?? 'create_invoice'
  return { end_behavior: { missing_payment_method: behaviour } }
}
