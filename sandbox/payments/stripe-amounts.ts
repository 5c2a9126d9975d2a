import { decimalsOf } from './amounts.ts'
import { invalidRequest } from './stripe-errors.ts'

/** Whole units at Stripe; the rest of the world has cents, or thousandths where ISO 4217 says so. */
const ZERO_DECIMAL = 'bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf'.split(' ')

const currencies = new Set(
  'usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw'.split(
    ' ',
  ),
)

/** About what a dollar is worth, for the smallest charge; one unit is enough elsewhere. */
const perDollar: Record<string, number> = {
  usd: 1,
  ars: 1_000,
  brl: 5,
  clp: 950,
  cop: 4_000,
  crc: 510,
  eur: 0.9,
  mxn: 17,
  pen: 3.7,
  pyg: 7_400,
  uyu: 40,
}

const SMALLEST_DOLLARS = 0.5
const MOST_DIGITS: Record<string, number> = { cop: 10, huf: 10, idr: 12, inr: 9, jpy: 10, lbp: 12 }

export function checkCurrency(currency: string): string {
  const code = currency.toLowerCase()
  if (currencies.has(code)) return code
  const message = `Invalid currency: ${currency}. Stripe currently supports these currencies: ${[...currencies].join(', ')}`
  throw invalidRequest(message, { param: 'currency' })
}

export function checkAmount(amount: number, currency: string, param = 'amount'): void {
  if (amount < 1) {
    const message = 'This value must be greater than or equal to 1.'
    throw invalidRequest(message, { code: 'parameter_invalid_integer', param })
  }
  const digits = MOST_DIGITS[currency] ?? 8
  if (amount >= 10 ** digits) {
    const message = `Amount must be no more than ${10 ** digits - 1} in ${currency}`
    throw invalidRequest(message, { code: 'amount_too_large', param })
  }
  const smallest = SMALLEST_DOLLARS * (perDollar[currency] ?? 0) * 10 ** wireDecimals(currency)
  if (amount < smallest) {
    const message = 'Amount must convert to at least 50 cents.'
    throw invalidRequest(message, { code: 'amount_too_small', param })
  }
}

/** Stripe's integer in minor units of ISO 4217. */
export function toIsoMinor(amount: number, currency: string): number {
  return Math.round(amount * 10 ** (decimalsOf(currency) - wireDecimals(currency)))
}

function wireDecimals(currency: string): number {
  if (ZERO_DECIMAL.includes(currency)) return 0
  return Math.max(2, decimalsOf(currency))
}
