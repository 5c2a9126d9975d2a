import type { Kysely } from 'kysely'
import type { Tables } from './database.ts'

/** By transaction, until it has committed. */
const effects = new WeakMap<Kysely<Tables>, Array<() => void>>()

/** Runs once the transaction of `db` has committed, never where it is rolled back; at once where `db` is none. */
export function afterCommit(db: Kysely<Tables>, effect: () => void): void {
  const waiting = effects.get(db)
  if (waiting === undefined) effect()
  else waiting.push(effect)
}

/** From now on what follows a commit waits for it. */
export function keepEffects(db: Kysely<Tables>): void {
  effects.set(db, [])
}

/** Of a transaction that was rolled back they stay: what still comes to it must not take it for none. */
export function runEffects(db: Kysely<Tables>): void {
  const waiting = effects.get(db) ?? []
  effects.delete(db)
  for (const effect of waiting) effect()
}
