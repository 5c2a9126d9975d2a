/** As `Fields` is, but what may be left out may also be nothing yet. */
type Loose<Fields> = {
  [Name in keyof Fields]: object extends Pick<Fields, Name> ? Fields[Name] | null | undefined : Fields[Name]
}

/** Without the fields that turned out to be nothing: undefined, null or an empty text. */
export function present<Fields extends object>(fields: Loose<Fields>): Fields {
  const kept = Object.entries(fields).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  )
  return Object.fromEntries(kept) as Fields
}

/** The same of fields that may all be nothing; undefined when they all are. */
export function filled<Value>(
  fields: Readonly<Record<string, Value | null | undefined>>,
): Record<string, Value> | undefined {
  const kept = present<Record<string, Value | null | undefined>>(fields)
  return Object.keys(kept).length > 0 ? (kept as Record<string, Value>) : undefined
}

/** Of a payment that took nothing. */
export const noMoney = { captured: 0, refunded: 0 } as const
