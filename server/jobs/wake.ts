import type { WorkKind } from './work.ts'

/** Which process has the work: this one, or one that tells of it. */
type Origin = 'here' | 'elsewhere'

const listeners = new Map<WorkKind, Set<(origin: Origin) => void>>()
const unheardListeners = new Set<(kind: WorkKind) => void>()

/** Tells the loops that there is new work: this process's, or where it has none those of others. Call it after the commit. */
export function wakeWork(kind: WorkKind): void {
  if (wakeHere(kind, 'here')) return
  for (const listener of unheardListeners) listener(kind)
}

/** Tells the loops of this process alone. @returns whether there is one */
export function wakeHere(kind: WorkKind, origin: Origin): boolean {
  const ofKind = listeners.get(kind) ?? new Set()
  for (const listener of ofKind) listener(origin)
  return ofKind.size > 0
}

/** @returns how to stop listening. */
export function onWake(kind: WorkKind, listener: (origin: Origin) => void): () => void {
  const ofKind = listeners.get(kind) ?? new Set()
  listeners.set(kind, ofKind.add(listener))
  return () => void ofKind.delete(listener)
}

/** Hears of work that no loop of this process works on. @returns how to stop listening. */
export function onUnheardWake(listener: (kind: WorkKind) => void): () => void {
  unheardListeners.add(listener)
  return () => void unheardListeners.delete(listener)
}
