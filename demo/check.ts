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

function write(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
