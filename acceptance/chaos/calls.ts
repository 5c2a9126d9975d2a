import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, createClient } from '../harness.ts'
import type { Asked } from './plan.ts'

export interface Caller {
  api: { url: string }
  /** Of the product's backend. */
  key: string
}

/** What came of asking, beside the answer. */
export interface Tally {
  /** Calls that got no answer. */
  lostCalls: number
  /** Answers that nobody should get, by status and code. */
  problems: string[]
}

interface Wish {
  path: string
  body?: object
  idempotencyKey: string
  asked: Asked
}

export type Body = Record<string, unknown> & { id?: string; payment_id?: string; code?: string }

const longestCallMs = 20_000
const impatientMs = 60
const firstPauseMs = 80
const longestPauseMs = 1_500
const givenUpAfterMs = 90_000
/** For as long as another call about the payment has no known end. */
const busyPatienceMs = 12_000

/** Asks like a backend that insists under one key until it is answered. Several answers where it asked at once. */
export async function ask(caller: Caller, tally: Tally, wish: Wish): Promise<Array<Answer<Body>>> {
  const times = wish.asked === 'thrice' ? 3 : 1
  const answers = await Promise.all(Array.from({ length: times }, () => insist(caller, tally, wish)))
  return answers.filter((answer) => answer !== undefined)
}

async function insist(caller: Caller, tally: Tally, wish: Wish): Promise<Answer<Body> | undefined> {
  const startedAt = performance.now()
  const ageMs = () => performance.now() - startedAt
  let isImpatient = wish.asked === 'impatiently'
  let pauseMs = firstPauseMs
  while (ageMs() < givenUpAfterMs) {
    const answer = await callOnce(caller, wish, isImpatient ? impatientMs : longestCallMs)
    isImpatient = false
    if (answer === undefined) tally.lostCalls += 1
    else if (!isToRepeat(answer, tally, ageMs())) return answer
    await pause(pauseMs)
    pauseMs = Math.min(2 * pauseMs, longestPauseMs)
  }
  tally.problems.push(`${wish.path} was never answered`)
  return undefined
}

function isToRepeat({ status, body }: Answer<Body>, tally: Tally, ageMs: number): boolean {
  const code = body?.code
  if (status === 409 && code === 'payment_busy') return ageMs < busyPatienceMs
  if (status < 500 || code === 'provider_refused') return false
  tally.problems.push(`${status} ${code}`)
  return true
}

async function callOnce(
  { api, key }: Caller,
  wish: Wish,
  deadlineMs: number,
): Promise<Answer<Body> | undefined> {
  // Its own client: a shared one would keep every exchange of thousands of calls.
  const client = createClient(api.url, key)
  const call = client.call<Body>('POST', wish.path, wish.body ?? {}, {
    'idempotency-key': wish.idempotencyKey,
  })
  return within(call, deadlineMs)
}

/** Undefined when it failed or took too long. */
export async function within<Result>(work: Promise<Result>, deadlineMs: number): Promise<Result | undefined> {
  const over = new AbortController()
  const late = sleep(deadlineMs, undefined, { signal: over.signal, ref: false })
  try {
    return await Promise.race([work, late])
  } catch {
    return undefined
  } finally {
    over.abort()
    late.catch(() => {})
    work.catch(() => {})
  }
}

export async function pause(ms: number): Promise<void> {
  await sleep(ms, undefined, { ref: false })
}
