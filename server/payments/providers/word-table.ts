import type { FailureCode } from '../failures.ts'
import type { Failure } from './provider.ts'

/**
 * What a provider's words mean. A row is a meaning and the words that have it, with blanks between; `same` are words
 * that are ours as well.
 */
export function createWordTable<Meaning>(
  rows: ReadonlyArray<readonly [meaning: Meaning, words: string]>,
  same: ReadonlyArray<Meaning & string> = [],
): ReadonlyMap<string, Meaning> {
  const pairs = rows.flatMap(([meaning, words]) => words.split(' ').map((word) => [word, meaning] as const))
  return new Map([...pairs, ...same.map((word) => [word, word] as const)])
}

export type FailureRow = readonly [FailureCode, Failure['retry'], words: string]

/** What a provider's words for a decline mean. */
export function createDeclineTable(
  rows: readonly FailureRow[],
): ReadonlyMap<string, Omit<Failure, 'providerCode'>> {
  return createWordTable(rows.map(([code, retry, words]) => [{ code, retry }, words]))
}

/** Why a provider's word declines; `usual` is what a word means that is in no row. */
export function createFailureTable(
  rows: readonly FailureRow[],
  usual: readonly [FailureCode, Failure['retry']] = ['unknown_reason', 'other_method'],
): (word: string | number) => Failure {
  const table = createDeclineTable(rows)
  const [code, retry] = usual
  return (word) => ({ ...(table.get(String(word)) ?? { code, retry }), providerCode: String(word) })
}
