import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../harness.ts'
import type { Installation } from './installation.ts'
import type { PlannedInbound, PlannedMessage } from './plan.ts'
import type { Random } from './random.ts'
import { writeAsCustomer } from './routes.ts'

export interface Accepted {
  planned: PlannedMessage
  /** The message id that each 2xx named. Several when the caller asked again under the same key. */
  ids: string[]
  /** What was answered instead of 202, by status. */
  problems: string[]
  /** Calls that got no answer. */
  lostCalls: number
}

export interface Written {
  planned: PlannedInbound
  /** The id that the provider gave the message. */
  providerMessageId: string
}

/** What those who kill look at. */
export interface Progress {
  accepted: number
  /** Everything was sent. */
  isOver: boolean
  /** The test has ended, and with it the server: nobody insists any more. */
  isStopped: boolean
}

const answerDeadlineMs = 8_000
const firstPauseMs = 100
const longestPauseMs = 1_000
const givenUpAfterMs = 200_000
const senders = 40
const shareAskedTwice = 0.04

/**
 * Sends what was planned when it is due, or as soon as one of the senders is free: like a backend that insists
 * with the same key and the same body until it is answered.
 */
export async function sendAll(
  installation: Installation,
  messages: readonly PlannedMessage[],
  random: Random,
  progress: Progress,
): Promise<Accepted[]> {
  const startedAt = performance.now()
  const waiting = messages.map((planned) => ({ planned, isAskedTwice: random.next() < shareAskedTwice }))
  const sent: Accepted[] = []
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined && !progress.isStopped; next = waiting.shift()) {
      await sleep(Math.max(0, next.planned.dueMs - (performance.now() - startedAt)))
      const accepted = await send(installation, next.planned, progress)
      progress.accepted += 1
      sent.push(accepted)
      if (next.isAskedTwice) await sendUntilAnswered(installation, accepted, progress)
    }
  }
  await Promise.all(Array.from({ length: senders }, work))
  return sent
}

async function send(
  installation: Installation,
  planned: PlannedMessage,
  progress: Progress,
): Promise<Accepted> {
  const accepted: Accepted = { planned, ids: [], problems: [], lostCalls: 0 }
  await sendUntilAnswered(installation, accepted, progress)
  return accepted
}

async function sendUntilAnswered(
  { api, keys }: Installation,
  accepted: Accepted,
  progress: Progress,
): Promise<void> {
  const { path, body, idempotencyKey, route } = accepted.planned
  // Its own client: a shared one would keep every exchange of thousands of calls.
  const client = createClient(api.url, keys.get(route.productId))
  const startedAt = performance.now()
  for (
    let pauseMs = firstPauseMs;
    !progress.isStopped && performance.now() - startedAt < givenUpAfterMs;
    pauseMs = Math.min(2 * pauseMs, longestPauseMs)
  ) {
    try {
      const call = client.call<{ id: string }>('POST', path, body, { 'idempotency-key': idempotencyKey })
      const answer = await within(call, answerDeadlineMs)
      if (answer.status === 202) {
        accepted.ids.push(answer.body.id)
        return
      }
      accepted.problems.push(`${answer.status} ${answer.text}`)
      if (answer.status < 500 && answer.status !== 409) return
    } catch {
      accepted.lostCalls += 1
    }
    await sleep(pauseMs)
  }
}

async function within<Result>(work: Promise<Result>, deadlineMs: number): Promise<Result> {
  const timer = new AbortController()
  const late = sleep(deadlineMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no answer within ${deadlineMs} ms`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
  }
}

/** Customers write at the planned moments, whether PipeCore runs or not. */
export function writeAll({ sandbox }: Installation, inbounds: readonly PlannedInbound[]): Promise<Written[]> {
  return Promise.all(
    inbounds.map(async (planned) => {
      await sleep(planned.dueMs)
      return { planned, providerMessageId: await writeAsCustomer(sandbox, planned.route, planned) }
    }),
  )
}
