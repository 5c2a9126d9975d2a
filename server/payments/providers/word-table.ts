import type { FailureCode } from '../failures.ts'
import type { Failure } from './provider.ts'

/** What a provider's words mean. A row is a meaning and the words that have it, with blanks between. */
export function createWordTable<Meaning>(
  rows: ReadonlyArray<readonly [meaning: Meaning, words: string]>,
): ReadonlyMap<string, Meaning> {
  return new Map(rows.flatMap(([meaning, words]) => words.split(' ').map((word) => [word, meaning] as const)))
}

export type FailureRow = readonly [FailureCode, Failure['retry'], words: string]

/** Why a provider's word declines; `usual` is what a word means that is in no row. */
export function createFailureTable(
  rows: readonly FailureRow[],
  usual: readonly [FailureCode, Failure['retry']] = ['unknown_reason', 'other_method'],
): (word: string | number) => Failure {
  const table = createWordTable(rows.map(([code, retry, words]) => [{ code, retry }, words] as const))
  const [code, retry] = usual
  return (word) => ({ ...(table.get(String(word)) ?? { code, retry }), providerCode: String(word) })
}
