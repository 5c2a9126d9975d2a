import { decimalsOf, type WireTable } from '../money.ts'

/** Currencies that a provider takes, with their own decimals but for those where it has others. */
export function createWireTable(currencies: string, others: WireTable): WireTable {
  const own = currencies.split(' ').map((currency) => [currency, decimalsOf(currency)] as const)
  return { ...Object.fromEntries(own), ...others }
}
