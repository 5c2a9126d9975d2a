/** ISO 4217 code → decimals in a provider's amounts. */
export type WireTable = Readonly<Record<string, number>>

/** Decimals of ISO 4217 where they are not two. */
const isoDecimals: Readonly<Record<string, number>> = {
  BIF: 0,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  ISK: 0,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  PYG: 0,
  RWF: 0,
  UGX: 0,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
  BHD: 3,
  IQD: 3,
  JOD: 3,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  TND: 3,
}

export function decimalsOf(currency: string): number {
  return isoDecimals[currency] ?? 2
}

/** `12990.50` for 1299050 COP: as people write it, with the currency's own decimals. */
export function writeAmount(minor: number, currency: string): string {
  return shift(minor, decimalsOf(currency))
}

/** Why an amount can't be sent to a provider; undefined when it can. */
export function wireProblem(
  minor: number,
  currency: string,
  { title, wire }: { title: string; wire: WireTable },
): string | undefined {
  const decimals = wire[currency]
  if (decimals === undefined) return `${title} takes no ${currency} here.`
  if (rescale(minor, decimalsOf(currency), decimals) !== undefined) return undefined
  const kept = decimals === 0 ? 'whole units only' : `at most ${decimals} decimals`
  return `${currency} ${writeAmount(minor, currency)} can't be sent to ${title}: it takes ${kept} of ${currency}.`
}

/**
 * Minor units → the provider's own integer (Stripe: UGX 100 is 10000).
 * @throws RangeError when digits would be lost or the currency is not in the table; `wireProblem` tells before.
 */
export function toWireInteger(minor: number, currency: string, wire: WireTable): number {
  const decimals = wire[currency]
  const scaled = decimals === undefined ? undefined : rescale(minor, decimalsOf(currency), decimals)
  if (scaled === undefined) throw new RangeError(`${currency} ${minor} does not fit the wire`)
  return scaled
}

/**
 * Minor units → a number in major units, built from decimal text (MercadoPago, Transbank).
 * @throws RangeError as `toWireInteger`
 */
export function toWireNumber(minor: number, currency: string, wire: WireTable): number {
  return Number(shift(toWireInteger(minor, currency, wire), wire[currency] ?? 0))
}

/** The provider's integer → minor units; undefined for what is no amount of this currency. */
export function fromWireInteger(value: number, currency: string, wire: WireTable): number | undefined {
  return Number.isSafeInteger(value)
    ? rescale(value, wire[currency] ?? decimalsOf(currency), decimalsOf(currency))
    : undefined
}

/** A number in major units → minor units, rounded to the currency's last digit: binary fractions are no decimals. */
export function fromWireNumber(value: number, currency: string): number {
  return Math.round(Number((value * 10 ** decimalsOf(currency)).toPrecision(15)))
}

function rescale(value: number, from: number, to: number): number | undefined {
  if (to >= from) {
    const scaled = value * 10 ** (to - from)
    return Number.isSafeInteger(scaled) ? scaled : undefined
  }
  const factor = 10 ** (from - to)
  return value % factor === 0 ? value / factor : undefined
}

function shift(integer: number, decimals: number): string {
  if (decimals === 0) return String(integer)
  const digits = String(Math.abs(integer)).padStart(decimals + 1, '0')
  const sign = integer < 0 ? '-' : ''
  return `${sign}${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}
