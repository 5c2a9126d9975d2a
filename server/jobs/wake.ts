import type { WorkKind } from './work.ts'

const listeners = new Map<WorkKind, Set<() => void>>()

/** Tells this process's loops that there is new work. Call it after the commit; other processes poll. */
export function wakeWork(kind: WorkKind): void {
  for (const listener of listeners.get(kind) ?? []) listener()
}

/** @returns how to stop listening. */
export function onWake(kind: WorkKind, listener: () => void): () => void {
  const ofKind = listeners.get(kind) ?? new Set()
  listeners.set(kind, ofKind.add(listener))
  return () => void ofKind.delete(listener)
}
