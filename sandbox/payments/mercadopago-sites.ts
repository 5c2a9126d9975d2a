import { toMinor } from './amounts.ts'

/** MercadoPago's countries. An account belongs to one, and its payments have that country's currency. */
export const sites = {
  MLA: { country: 'AR', currency: 'ARS', offline: ['rapipago', 'pagofacil'] },
  MLB: { country: 'BR', currency: 'BRL', offline: ['bolbradesco', 'pix'] },
  MLC: { country: 'CL', currency: 'CLP', offline: ['servipag', 'webpay'] },
  MLM: { country: 'MX', currency: 'MXN', offline: ['oxxo', 'clabe'] },
  MCO: { country: 'CO', currency: 'COP', offline: ['efecty', 'pse'] },
  MPE: { country: 'PE', currency: 'PEN', offline: ['pagoefectivo_atm'] },
  MLU: { country: 'UY', currency: 'UYU', offline: ['abitab', 'redpagos'] },
  MHN: { country: 'HN', currency: 'HNL', offline: [] },
  MNI: { country: 'NI', currency: 'NIO', offline: [] },
} as const

export type SiteId = keyof typeof sites
export const siteIds = Object.keys(sites) as [SiteId, ...SiteId[]]

export type PaymentMethod = {
  id: string
  name: string
  type: 'credit_card' | 'debit_card' | 'ticket' | 'bank_transfer' | 'account_money'
}

const methods = new Map<string, PaymentMethod>(
  (
    [
      ['visa', 'Visa', 'credit_card'],
      ['master', 'Mastercard', 'credit_card'],
      ['amex', 'American Express', 'credit_card'],
      ['debvisa', 'Visa Débito', 'debit_card'],
      ['debmaster', 'Mastercard Débito', 'debit_card'],
      ['account_money', 'Dinero en cuenta', 'account_money'],
      ['rapipago', 'Rapipago', 'ticket'],
      ['pagofacil', 'Pago Fácil', 'ticket'],
      ['bolbradesco', 'Boleto', 'ticket'],
      ['pix', 'Pix', 'bank_transfer'],
      ['servipag', 'Servipag', 'ticket'],
      ['webpay', 'Webpay', 'bank_transfer'],
      ['oxxo', 'OXXO', 'ticket'],
      ['clabe', 'SPEI', 'bank_transfer'],
      ['efecty', 'Efecty', 'ticket'],
      ['pse', 'PSE', 'bank_transfer'],
      ['pagoefectivo_atm', 'PagoEfectivo', 'ticket'],
      ['abitab', 'Abitab', 'ticket'],
      ['redpagos', 'Redpagos', 'ticket'],
    ] as const
  ).map(([id, name, type]) => [id, { id, name, type }]),
)

/** A method that the site takes. */
export function findMethod(site: SiteId, id: string): PaymentMethod | undefined {
  const method = methods.get(id)
  const isOffline = method && ['ticket', 'bank_transfer'].includes(method.type)
  return isOffline && !offlineOf(site).includes(id) ? undefined : method
}

export function listMethods(site: SiteId): PaymentMethod[] {
  return [...methods.values()].filter(({ id }) => findMethod(site, id) !== undefined)
}

/** What a customer pays with in cash at this site. */
export function cashMethodOf(site: SiteId): PaymentMethod {
  return methods.get(offlineOf(site)[0] ?? 'account_money')!
}

function offlineOf(site: SiteId): readonly string[] {
  return sites[site].offline
}

const WHOLE_UNITS_ONLY = ['CLP', 'COP', 'HNL', 'NIO']

/** Minor units of a positive amount, or what MercadoPago has against it. */
export function readAmount(value: unknown, currency: string): number | string {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) return 'must be a positive number'
  if (WHOLE_UNITS_ONLY.includes(currency) && !Number.isInteger(value))
    return `Prices in ${currency} currency must be expressed with integer values`
  if (Math.abs(value * 100 - Math.round(value * 100)) > 1e-6) return 'must have at most 2 decimals'
  return toMinor(value, currency)
}

const OFFSET_HOURS = 4

/** As MercadoPago writes time: `2017-07-06T09:49:35.000-04:00`. */
export function writeTime(date: Date): string {
  return new Date(date.getTime() - OFFSET_HOURS * 3_600_000).toISOString().replace('Z', '-04:00')
}

/** ISO 8601 with an offset, or `NOW`, `NOW-30DAYS`, `NOW+1MONTH` as searches take it. */
export function readTime(text: string, now: Date): Date | null {
  const relative = /^NOW(?:([+-]\d{1,4})(DAY|MONTH|YEAR)S?)?$/.exec(text)
  if (relative) return moveTime(now, Number(relative[1] ?? 0), relative[2] ?? 'DAY')
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$/.test(text)) return null
  const time = new Date(text)
  return Number.isNaN(time.getTime()) ? null : time
}

function moveTime(now: Date, count: number, unit: string): Date {
  const moved = new Date(now)
  if (unit === 'DAY') moved.setUTCDate(moved.getUTCDate() + count)
  if (unit === 'MONTH') moved.setUTCMonth(moved.getUTCMonth() + count)
  if (unit === 'YEAR') moved.setUTCFullYear(moved.getUTCFullYear() + count)
  return moved
}
