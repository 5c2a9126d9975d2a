import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { enqueueJobs, forgetDeadWork, hurryWork, insertWork, wakeWork } from '#jobs'
import { redeliveryOf } from '../events.ts'
import { type EndpointRow, findEndpoint, findHealth } from '../queries.ts'
import {
  countBacklog,
  lockEndpointReplays,
  lockReplay,
  lockReplayEndpoint,
  type ReplayEndpointRow,
  type ReplayRow,
  saveReplayEndpoint,
} from './queries.ts'
import { type Candidate, readStretch } from './stretch.ts'

const Payload = z.strictObject({ replay_id: z.string(), endpoint_id: z.string(), step: z.number() })
type Payload = z.infer<typeof Payload>

/** A step sends what the rate allows in this time, at most. */
const aheadMs = 5_000
const mostAhead = 1_000
const stretchesPerStep = 10
const shortestWaitMs = 1_000
const longestWaitMs = 60_000
const attempts = 20

/**
 * One step of a replay at one endpoint: the deliveries, how far it came and the job of the next step are one
 * transaction, so a process that dies neither loses nor doubles any of them.
 */
export const replayEndpoint: JobDefinition<Payload> = {
  name: 'webhooks.replay_endpoint',
  payload: Payload,
  attempts,
  timeoutSeconds: 60,
  run: async (context, payload) => {
    await context.database.asSystem((db) => takeStep(context, db, payload))
    wakeWork('delivery')
    wakeWork('job')
  },
  bury: async (context, payload) => {
    const error = `It failed ${attempts} times; see the log and the dead jobs.`
    await context.database.asSystem(async (db) => {
      const part = await lockReplayEndpoint(db, payload.replay_id, payload.endpoint_id)
      if (part?.step === payload.step) await saveReplayEndpoint(db, part, { error })
    })
  },
}

/** Opens the next step of each. */
export async function enqueueSteps(
  db: Kysely<Tables>,
  replay: ReplayRow,
  parts: readonly ReplayEndpointRow[],
  { runAt, now }: { runAt: Date; now: Date },
): Promise<void> {
  const { id, tenant_id: tenantId, product_id: productId, trace_id: traceId } = replay
  const jobs = parts.map((part) => ({
    payload: { replay_id: id, endpoint_id: part.endpoint_id, step: part.step },
    traceId,
    runAt,
    ...(tenantId !== null && { scope: { tenantId, productId, traceId } }),
  }))
  if (jobs.length > 0) await enqueueJobs(db, replayEndpoint, jobs, now)
}

async function takeStep(context: Context, db: Kysely<Tables>, payload: Payload): Promise<void> {
  const now = context.now()
  const replay = await lockReplay(db, payload.replay_id, 'step')
  if (replay === undefined || replay.state !== 'running') return
  const part = await lockReplayEndpoint(db, payload.replay_id, payload.endpoint_id)
  if (part === undefined || part.step !== payload.step || part.ended_at !== null) return
  // Two replays never decide on the same event of an endpoint at once.
  await lockEndpointReplays(db, part.endpoint_id)
  const endpoint = await findEndpoint(db, part.endpoint_id)
  if (endpoint === undefined) {
    await saveReplayEndpoint(db, part, { ended_at: now, error: 'The endpoint was deleted.' })
    return
  }
  const room = await findRoom(db, replay, endpoint, now)
  const moved =
    room.waitingFor === null ? await moveOn(db, { replay, part, endpoint, most: room.most, now }) : part
  const next = { ...moved, step: part.step + 1, waiting_for: room.waitingFor }
  await saveReplayEndpoint(db, part, next)
  if (next.ended_at !== null) return
  const runAt = room.waitingFor === null ? next.free_at : new Date(now.getTime() + waitOf(part, now))
  await enqueueSteps(db, replay, [next], { runAt, now })
}

type Room = { waitingFor: ReplayEndpointRow['waiting_for']; most: number }

/** How many deliveries the endpoint may get now: no more wait for it than a few seconds' worth. */
async function findRoom(
  db: Kysely<Tables>,
  replay: ReplayRow,
  endpoint: EndpointRow,
  now: Date,
): Promise<Room> {
  if (!endpoint.active) return { waitingFor: 'endpoint_off', most: 0 }
  const [health] = await findHealth(db, [endpoint.id])
  const isOpen = health?.state === 'open'
  if (isOpen && health.paused_until !== null && health.paused_until > now)
    return { waitingFor: 'endpoint_paused', most: 0 }
  // After its pause one event tries it, also when nothing else waits there.
  const ahead = isOpen ? 1 : Math.min(mostAhead, Math.ceil((replay.per_second * aheadMs) / 1000))
  const until = new Date(now.getTime() + aheadMs)
  const backlog = await countBacklog(db, endpoint.id, { until, most: ahead })
  return { waitingFor: backlog > ahead / 2 ? 'backlog' : null, most: ahead - backlog }
}

/** Longer and longer while nothing moves. */
function waitOf({ moved_at: movedAt }: ReplayEndpointRow, now: Date): number {
  return Math.min(longestWaitMs, Math.max(shortestWaitMs, (now.getTime() - movedAt.getTime()) / 4))
}

interface Move {
  replay: ReplayRow
  part: ReplayEndpointRow
  endpoint: EndpointRow
  most: number
  now: Date
}

/** Sends what the next stretches of the log have, up to the most allowed. */
async function moveOn(db: Kysely<Tables>, move: Move): Promise<ReplayEndpointRow> {
  const { replay, endpoint, now } = move
  let { part } = move
  for (let stretches = 0; stretches < stretchesPerStep; stretches += 1) {
    const stretch = await readStretch(db, replay, endpoint, { after: part.cursor, now })
    const sendable = stretch.candidates.filter(({ sends }) => sends)
    const taken = sendable.slice(0, move.most)
    const cut = taken.length < sendable.length ? taken.at(-1) : undefined
    const cursor = cut?.id ?? stretch.last
    const sent = await send(db, { ...move, part }, taken)
    part = {
      ...part,
      cursor: cursor ?? replay.end_id,
      looked_at: part.looked_at + (cut?.place ?? stretch.lookedAt),
      sent: part.sent + sent,
      free_at: startOf(part, now, sent / replay.per_second),
      moved_at: now,
      ended_at: cursor === undefined ? now : null,
    }
    if (part.ended_at !== null || taken.length > 0) break
  }
  return part
}

/** From when the rate allows another delivery, a few seconds on. */
function startOf({ free_at: freeAt }: ReplayEndpointRow, now: Date, seconds = 0): Date {
  return new Date(Math.max(now.getTime(), freeAt.getTime()) + seconds * 1000)
}

/** Spreads them over the time that the rate asks for. @returns how many were opened or brought forward */
async function send(db: Kysely<Tables>, move: Move, taken: readonly Candidate[]): Promise<number> {
  const { replay, part, endpoint, now } = move
  const timed = taken.map((candidate, place) => ({
    candidate,
    runAt: startOf(part, now, place / replay.per_second),
  }))
  const late = timed.flatMap(({ candidate, runAt }) =>
    candidate.state === 'pending_late' && candidate.deliveryId !== null
      ? [{ id: candidate.deliveryId, runAt }]
      : [],
  )
  const fresh = timed.filter(({ candidate }) => candidate.state !== 'pending_late')
  const hurried = await hurryWork(db, late)
  if (fresh.length > 0) {
    await insertWork(
      db,
      fresh.map(({ candidate, runAt }) => replayOf(candidate, endpoint, runAt)),
    )
  }
  const dead = taken.filter(({ state }) => state === 'dead').map(({ id }) => id)
  await forgetDeadWork(db, endpoint.id, dead)
  return hurried.length + fresh.length
}

function replayOf({ event }: Candidate, endpoint: EndpointRow, runAt: Date) {
  return {
    ...redeliveryOf(event, endpoint.id, runAt),
    ...(endpoint.ordered && { order_key: event.entity }),
  }
}
