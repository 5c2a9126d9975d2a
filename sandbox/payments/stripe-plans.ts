import { z } from 'zod'
import { checkCurrency } from './stripe-amounts.ts'
import type { Price, Product } from './stripe-billing-objects.ts'
import { invalidRequest } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import { boolean, changeMetadata, ignored, integer, metadata, optionalText, text } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject, indexMetadata } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const recurringParams = z.strictObject({
  interval: z.enum(['day', 'week', 'month', 'year']),
  interval_count: integer.optional(),
  usage_type: z.literal('licensed').optional(),
})

const productParams = {
  active: boolean.optional(),
  description: optionalText,
  images: ignored,
  metadata,
  statement_descriptor: ignored,
  tax_code: ignored,
  unit_label: ignored,
  url: ignored,
}

const productData = z.strictObject({ ...productParams, name: text })
const productCreated = z.strictObject({
  ...productParams,
  id: text.optional(),
  name: text,
  shippable: ignored,
})
const productChanged = z.strictObject({ ...productParams, name: text.optional(), default_price: ignored })

const decimal = text.regex(/^\d+(\.\d{1,12})?$/, 'decimal')

/** A price without an object of its own yet, in a checkout or a subscription. */
export const priceData = z.strictObject({
  currency: text,
  product: text.optional(),
  product_data: productData.optional(),
  recurring: recurringParams.optional(),
  tax_behavior: ignored,
  unit_amount: integer.optional(),
  unit_amount_decimal: decimal.optional(),
})

const priceCreated = priceData.extend({
  active: boolean.optional(),
  lookup_key: text.optional(),
  metadata,
  nickname: optionalText,
})

const priceChanged = z.strictObject({
  active: boolean.optional(),
  lookup_key: optionalText,
  metadata,
  nickname: optionalText,
})

const longestDays = { day: 1_095, week: 1_092, month: 1_080, year: 1_095 }
const daysOf = { day: 1, week: 7, month: 30, year: 365 }

/** @throws StripeError for what is no price */
function createPrice(work: Work, params: z.infer<typeof priceCreated>): Price {
  const currency = checkCurrency(params.currency)
  const { interval, interval_count: count = 1 } = params.recurring ?? {}
  if (interval && (count < 1 || count * daysOf[interval] > longestDays[interval])) {
    const message = 'The maximum interval is three years: 3 years, 36 months, 156 weeks or 1095 days.'
    throw invalidRequest(message, { param: 'recurring[interval_count]' })
  }
  const price: Price = {
    id: createId('price'),
    object: 'price',
    active: params.active ?? true,
    billing_scheme: 'per_unit',
    created: work.at,
    currency,
    livemode: work.account.livemode,
    lookup_key: params.lookup_key ?? null,
    metadata: changeMetadata({}, params.metadata),
    nickname: params.nickname ?? null,
    product: findProduct(work, params).id,
    recurring: interval ? { interval, interval_count: count, usage_type: 'licensed' } : null,
    type: interval ? 'recurring' : 'one_time',
    unit_amount: readAmount(params),
    unit_amount_decimal: params.unit_amount_decimal ?? String(params.unit_amount),
  }
  addObject(work, price, [price.product])
  emit(work, 'price.created', price)
  return price
}

/** The price that a line names or describes. */
export function resolvePrice(
  work: Work,
  line: { price?: string | undefined; price_data?: z.infer<typeof priceData> | undefined },
  param: string,
): Price {
  if (line.price !== undefined && line.price_data === undefined) {
    const price = getObject<Price>(work.account, 'price', line.price, `${param}[price]`)
    if (price.active) return price
    const message = `The price specified is inactive. This field only accepts active prices.`
    throw invalidRequest(message, { param: `${param}[price]` })
  }
  if (line.price_data !== undefined && line.price === undefined) return createPrice(work, line.price_data)
  const message = 'You may only specify one of these parameters: price, price_data.'
  throw invalidRequest(message, { param, code: line.price ? 'parameters_exclusive' : 'parameter_missing' })
}

function readAmount(params: z.infer<typeof priceData>): number {
  const { unit_amount: amount, unit_amount_decimal: exact } = params
  if (amount === undefined && exact === undefined) {
    const message = 'Either unit_amount or unit_amount_decimal must be provided.'
    throw invalidRequest(message, { code: 'parameter_missing', param: 'unit_amount' })
  }
  if (amount !== undefined && amount < 0) {
    const message = 'This value must be greater than or equal to 0.'
    throw invalidRequest(message, { code: 'parameter_invalid_integer', param: 'unit_amount' })
  }
  return amount ?? Math.round(Number(exact))
}

function findProduct(work: Work, params: z.infer<typeof priceData>): Product {
  if (params.product !== undefined)
    return getObject<Product>(work.account, 'product', params.product, 'product')
  if (params.product_data) return createProduct(work, params.product_data)
  const message = 'You must provide either product or product_data.'
  throw invalidRequest(message, { code: 'parameter_missing', param: 'product' })
}

function createProduct(
  work: Work,
  params: z.infer<typeof productData> & { id?: string | undefined },
): Product {
  const product: Product = {
    id: params.id ?? createId('prod', 10),
    object: 'product',
    active: params.active ?? true,
    created: work.at,
    description: params.description ?? null,
    livemode: work.account.livemode,
    metadata: changeMetadata({}, params.metadata),
    name: params.name,
    updated: work.at,
  }
  if (work.account.objects.has(product.id))
    throw invalidRequest('Product already exists.', { code: 'resource_already_exists', param: 'id' })
  addObject(work, product)
  emit(work, 'product.created', product)
  return product
}

function changeProduct(work: Work, params: z.infer<typeof productChanged>, id: string): Product {
  const product = getObject<Product>(work.account, 'product', id)
  product.name = params.name ?? product.name
  product.active = params.active ?? product.active
  if (params.description !== undefined) product.description = params.description
  product.metadata = changeMetadata(product.metadata, params.metadata)
  product.updated = work.at
  indexMetadata(work.account, product)
  emit(work, 'product.updated', product)
  return product
}

function changePrice(work: Work, params: z.infer<typeof priceChanged>, id: string): Price {
  const price = getObject<Price>(work.account, 'price', id)
  price.active = params.active ?? price.active
  if (params.lookup_key !== undefined) price.lookup_key = params.lookup_key
  if (params.nickname !== undefined) price.nickname = params.nickname
  price.metadata = changeMetadata(price.metadata, params.metadata)
  indexMetadata(work.account, price)
  emit(work, 'price.updated', price)
  return price
}

const nothing = z.strictObject({})

export const planRoutes: Routes = {
  'POST products': route('subscription', productCreated, createProduct),
  'GET products': listRoute<Product>('product', 'products', { equals: ['active'] }),
  'GET products/:id': route('read', nothing, ({ account }, _, id) => getObject(account, 'product', id)),
  'POST products/:id': route('subscription', productChanged, changeProduct),
  'POST prices': route('subscription', priceCreated, createPrice),
  'GET prices': listRoute<Price>('price', 'prices', {
    parents: ['product'],
    equals: ['active', 'currency', 'type'],
    others: ['lookup_keys'],
    isShown: ({ lookup_key: key }, { lookup_keys: wanted }) =>
      wanted === undefined || (key !== null && wanted.includes(key)),
  }),
  'GET prices/:id': route('read', nothing, ({ account }, _, id) => getObject(account, 'price', id)),
  'POST prices/:id': route('subscription', priceChanged, changePrice),
}
