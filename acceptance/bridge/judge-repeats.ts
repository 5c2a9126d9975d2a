import { count, forbid, type Verdict } from '../kill/verdict.ts'
import type { Disturbance } from './disturbances.ts'
import type { Arrival, Receiver } from './receiver.ts'
import type { Shop } from './shop.ts'

/** What was answered this long before the end of a process may not have been recorded yet. */
const recordingMs = 2_000
/** A process is gone a moment before it is noted, and has a moment's sockets still open after. */
const notedMs = 250

type Cause = 'receiver' | 'kill'

/** An event that was taken comes again only where its answer was lost: by the receiver, or with a process. */
export function judgeRepeats(verdict: Verdict, shop: Shop, disturbances: readonly Disturbance[]): void {
  const causes: Record<Cause, number> = { receiver: 0, kill: 0 }
  const unexplained: string[] = []
  for (const [first, again] of listRepeats(shop.receiver)) {
    const cause = findCause(first, again, disturbances)
    if (cause !== undefined) causes[cause] += 1
    else unexplained.push(describe(first, again))
  }
  count(verdict, 'again, because the receiver broke off its answer', causes.receiver)
  count(verdict, 'again, because a process died with the answer', causes.kill)
  forbid(verdict, 'again without a reason', unexplained)
}

/** Every request about an event that had been taken before, behind the one before it. */
function listRepeats({ arrivals }: Receiver): Array<[first: Arrival, again: Arrival]> {
  return [...arrivals.values()].flatMap((all) =>
    [...Map.groupBy(all, ({ id }) => id).values()].flatMap((same) =>
      same.slice(1).flatMap((again, index): Array<[Arrival, Arrival]> => {
        const first = same[index]!
        return first.isTaken ? [[first, again]] : []
      }),
    ),
  )
}

function findCause(first: Arrival, again: Arrival, disturbances: readonly Disturbance[]): Cause | undefined {
  if (first.treatment !== 'take') return 'receiver'
  const kills = disturbances.flatMap(({ killedAt }) => killedAt ?? [])
  return kills.some((killedAt) => isLostBy(killedAt, first, again, disturbances)) ? 'kill' : undefined
}

function isLostBy(
  killedAt: number,
  first: Arrival,
  again: Arrival,
  disturbances: readonly Disturbance[],
): boolean {
  if (again.at < killedAt || first.at > killedAt + notedMs) return false
  const answeredAt = first.answeredAt ?? killedAt
  if (answeredAt >= killedAt - recordingMs) return true
  // While the database is away, what was answered waits in memory to be recorded.
  return disturbances.some(
    ({ stopsDatabase, from, until }) =>
      stopsDatabase && from <= answeredAt + recordingMs && until + recordingMs >= killedAt,
  )
}

function describe(first: Arrival, again: Arrival): string {
  const answered =
    first.answeredAt === undefined ? 'not answered' : `answered after ${first.answeredAt - first.at} ms`
  return `${first.path} ${first.ref}, ${answered}, again ${again.at - first.at} ms later`
}
