import type { WorkKind } from './work.ts'

type Listener = (kind: WorkKind) => void

const listeners = new Map<WorkKind, Set<Listener>>()
const unheardListeners = new Set<Listener>()

/** Tells the loops that there is new work: this process's, or where it has none those of others. Call it after the commit. */
export function wakeWork(kind: WorkKind): void {
  if (wakeHere(kind)) return
  for (const listener of unheardListeners) listener(kind)
}

/** Tells the loops of this process alone. @returns whether there is one */
export function wakeHere(kind: WorkKind): boolean {
  const ofKind = listeners.get(kind) ?? new Set()
  for (const listener of ofKind) listener(kind)
  return ofKind.size > 0
}

/** @returns how to stop listening. */
export function onWake(kind: WorkKind, listener: Listener): () => void {
  const ofKind = listeners.get(kind) ?? new Set()
  listeners.set(kind, ofKind.add(listener))
  return () => void ofKind.delete(listener)
}

/** Hears of work that no loop of this process works on. @returns how to stop listening. */
export function onUnheardWake(listener: Listener): () => void {
  unheardListeners.add(listener)
  return () => void unheardListeners.delete(listener)
}
