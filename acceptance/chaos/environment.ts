/** A whole number above 0 that the environment sets. */
export function readNumber(name: string, fallback: number): number {
  const number = Number(process.env[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`${name} must be a whole number above 0, not "${process.env[name]}".`)
}
