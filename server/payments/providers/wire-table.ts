import { decimalsOf, type WireTable } from '../money.ts'

/** Currencies that a provider takes, by name, with their own decimals but for those where it has others. */
export function createWireTable(currencies: string, others: WireTable): WireTable {
  const own = currencies.split(' ').map((currency) => [currency, decimalsOf(currency)] as const)
  const all = new Map([...own, ...Object.entries(others)])
  return Object.fromEntries([...all].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
