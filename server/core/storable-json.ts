/** Whether a JSON text may hold what PostgreSQL's `jsonb` refuses, which only an escape brings in: NUL, half a character. */
export function mayBeUnstorable(json: string): boolean {
  return /\\u(?:0000|d[89a-f])/i.test(json)
}

/**
 * Called for each value when JSON is read or written: texts, and names of fields, without NUL and with a replacement
 * character for each half of one.
 */
export function toStorable(_name: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const fields = Object.entries(value)
  if (fields.every(([name]) => toStorableText(name) === name)) return value
  return Object.fromEntries(fields.map(([name, field]) => [toStorableText(name), field]))
}

function toStorableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '')
}
