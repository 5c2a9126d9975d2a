import { type NotDone, refuse } from '#connections'
import { fromWireNumber, type WireTable, wireProblem } from '../money.ts'

/** Refuses what can't be sent, as far as it can't. */
export function refuseAmount(
  minor: number,
  currency: string,
  provider: { title: string; wire: WireTable },
): NotDone | undefined {
  const problem = wireProblem(minor, currency, provider)
  return problem === undefined ? undefined : refuse('content', problem)
}

/** A number in major units → minor units, where the answer has one. */
export function readWireNumber(value: number | null | undefined, currency: string): number | undefined {
  return value === null || value === undefined ? undefined : fromWireNumber(value, currency)
}
