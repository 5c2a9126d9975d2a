import { mismatch, type NotDone } from '#connections'

/** What an answer says and what it has to say. `asked` undefined: whatever it says will do. */
type Comparison = readonly [field: string, found: unknown, asked: unknown]

/**
 * An answer about another payment never becomes a state of this one. Where an answer `mayLack` fields, it is no
 * other for that.
 */
export function refuseOther(
  title: string,
  comparisons: readonly Comparison[],
  mayLack = false,
): NotDone | undefined {
  const other = comparisons.find(([, found, asked]) => {
    const isLacking = mayLack && (found === undefined || found === null)
    return asked !== undefined && !isLacking && found !== asked
  })
  if (other === undefined) return undefined
  const [field, found, asked] = other
  const problem = `its ${field} is ${String(found)}, not ${String(asked)}`
  return mismatch(`${title}: the answer is not about this payment: ${problem}. Look it up at ${title}.`)
}
