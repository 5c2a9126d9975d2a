const NO_DECIMALS = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'.split(' ')
const THREE_DECIMALS = 'BHD IQD JOD KWD LYD OMR TND'.split(' ')

/** Decimals of ISO 4217: CLP has none, COP two, KWD three. */
export function decimalsOf(currency: string): number {
  const code = currency.toUpperCase()
  if (NO_DECIMALS.includes(code)) return 0
  return THREE_DECIMALS.includes(code) ? 3 : 2
}

/** Minor units → major units. */
export function toMajor(minor: number, currency: string): number {
  return minor / 10 ** decimalsOf(currency)
}

/** Major units → minor units; binary fractions are no decimals. */
export function toMinor(major: number, currency: string): number {
  return Math.round(Number((major * 10 ** decimalsOf(currency)).toPrecision(15)))
}

/** ISO 4217 for what is no currency: what a broken request names is still shown. */
const noCurrency = 'XXX'
const formats = new Map<string, Intl.NumberFormat>()

/** As a customer in Chile reads it: `$10.000`, `US$12,50`. */
export function writeMoney(minor: number, currency: string): string {
  const known = formats.get(currency) ?? createFormat(currency)
  formats.set(currency, known)
  return known.format(toMajor(minor, currency))
}

function createFormat(currency: string): Intl.NumberFormat {
  const decimals = decimalsOf(currency)
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals }
  return new Intl.NumberFormat('es-CL', {
    style: 'currency',
    currency: isCode(currency) ? currency : noCurrency,
    ...digits,
  })
}

function isCode(currency: string): boolean {
  return /^[A-Za-z]{3}$/.test(currency)
}
