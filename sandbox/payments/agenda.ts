import { runAt } from '../world.ts'
import type { World } from '../world.ts'

type Entry = { due: number; run: (at: Date) => void }

/** What happens by itself when the sandbox's clock gets there: one timer for any number of entries. */
export type Agenda = {
  world: World
  /** Soonest first. */
  entries: Entry[]
  isWatched: boolean
  isPlaying: boolean
}

export function createAgenda(world: World): Agenda {
  return { world, entries: [], isWatched: false, isPlaying: false }
}

/** `run` is told the time it was due, which a clock that jumped may have left far behind. */
export function schedule(agenda: Agenda, due: Date, run: (at: Date) => void): void {
  const entry = { due: due.getTime(), run }
  agenda.entries.splice(findPlace(agenda.entries, entry.due), 0, entry)
  watch(agenda)
}

/** Plays what is due, in order, also what becomes due by that. */
export function playDue(agenda: Agenda): void {
  if (agenda.isPlaying) return
  agenda.isPlaying = true
  try {
    while (agenda.entries[0] && agenda.entries[0].due <= agenda.world.now().getTime()) {
      const { due, run } = agenda.entries.shift()!
      run(new Date(due))
    }
  } finally {
    agenda.isPlaying = false
  }
  watch(agenda)
}

export function clearAgenda(agenda: Agenda): void {
  agenda.entries = []
  agenda.isWatched = false
}

function watch(agenda: Agenda): void {
  if (agenda.isWatched || agenda.isPlaying || agenda.entries.length === 0) return
  agenda.isWatched = true
  const readDue = () => {
    const due = agenda.entries[0]?.due ?? null
    if (due === null) agenda.isWatched = false
    return due
  }
  runAt(agenda.world, readDue, () => {
    agenda.isWatched = false
    playDue(agenda)
  })
}

/** After all that is due no later. */
function findPlace(entries: Entry[], due: number): number {
  let [low, high] = [0, entries.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (entries[middle]!.due <= due) low = middle + 1
    else high = middle
  }
  return low
}
