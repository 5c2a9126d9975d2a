import { isDeepStrictEqual } from 'node:util'

/** A step of the demo that did not hold. */
export class StepFailed extends Error {
  readonly expected: string
  readonly found: string

  constructor(what: string, expected: unknown, found: unknown) {
    super(what)
    this.name = 'StepFailed'
    this.expected = write(expected)
    this.found = write(found)
  }
}

/** @throws StepFailed when the two differ */
export function check(what: string, found: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(found, expected)) throw new StepFailed(what, expected, found)
}

/** @throws StepFailed naming what one list has and the other lacks */
export function checkSame(what: string, found: readonly string[], expected: readonly string[]): void {
  const missing = expected.filter((one) => !found.includes(one))
  const beyond = found.filter((one) => !expected.includes(one))
  check(what, { count: found.length, missing, beyond }, { count: expected.length, missing: [], beyond: [] })
}

function write(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
