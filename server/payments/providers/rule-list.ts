import { type NotDone, refuse } from '#connections'
import type { FieldError } from '#core/errors.ts'

/** What a list of rules tells: the words of those that apply. */
export function listApplying<Words>(rows: ReadonlyArray<readonly [applies: boolean, words: Words]>): Words[] {
  return rows.flatMap(([applies, words]) => (applies ? [words] : []))
}

/** The same of fields of a request. */
export function listFieldFaults(
  rows: ReadonlyArray<readonly [applies: boolean, field: string, message: string]>,
): FieldError[] {
  return rows.flatMap(([applies, field, message]) => (applies ? [{ field, message }] : []))
}

/** Refuses a command by the first fault of its fields, if there is one. */
export function refuseFaults([fault]: readonly FieldError[]): NotDone | undefined {
  return fault && refuse('content', `${fault.field}: ${fault.message}`)
}
