import { randomBytes } from 'node:crypto'
import { Agent, request } from 'undici'
import { nextRetryMs } from './retries.ts'
import type { PaymentProviderId } from './payments/simulator.ts'
import type { ProviderId, Settings } from './world.ts'

type CallbackAttempt = {
  at: string
  ms: number
  /** HTTP status answered; null when nothing was. */
  status: number | null
  /** Start of the body answered, or why there was none. */
  answer: string
}

export type Callback = {
  id: string
  provider: ProviderId | PaymentProviderId
  account: string
  /** One per event, in the same order. */
  message_ids: string[]
  /** `sent`, `email.delivered`, `inbound` … */
  events: string[]
  url: string
  state: 'pending' | 'delivered' | 'failed'
  attempts: CallbackAttempt[]
  next_at: string | null
  /** Signed with a wrong secret on purpose. */
  forged: boolean
  /** What the provider would note in its own log about the answer. */
  warning: string | null
  /** As last sent. */
  headers: Record<string, string>
  body: string
}

export type CallbackInput = {
  provider: ProviderId | PaymentProviderId
  account: string
  messageIds: string[]
  events: string[]
  url: string
  /** Callbacks of one lane are first tried in the order they were made; later attempts keep no order. */
  lane: string
  /** Called for every attempt: signatures with a timestamp are made anew. */
  build: (at: Date) => { headers: Record<string, string>; body: string | Buffer }
  /** What the provider accepts as received. */
  accepts: (status: number) => boolean
  forged?: boolean
  warn?: (status: number, contentType: string, answer: string) => string | null
}

type Job = {
  callback: Callback
  input: CallbackInput
  firstAt: number
  onAttempt: Array<() => void>
}

export type Callbacks = {
  /** Everything sent, by id of its callback. */
  jobs: Map<string, Job>
  byMessage: Map<string, Callback[]>
  ready: Job[]
  /** What waits behind the first attempt that a lane is making. */
  lanes: Map<string, Job[]>
  inFlight: number
  agent: Agent
}

/** What callbacks need of the world around them. */
type Surroundings = {
  callbacks: Callbacks
  settings: Settings
  now(): Date
  signingTime(): Date
  later(delayMs: number, run: () => void): void
}

const MAX_IN_FLIGHT = 48
const LONGEST_LANE_WAIT_MS = 1_000
const KEPT_CALLBACKS = 60_000
const ANSWER_CHARACTERS = 2_000

export function createCallbacks(): Callbacks {
  return {
    jobs: new Map(),
    byMessage: new Map(),
    ready: [],
    lanes: new Map(),
    inFlight: 0,
    agent: createAgent(),
  }
}

function createAgent(): Agent {
  return new Agent({
    connections: MAX_IN_FLIGHT,
    connect: { timeout: 5_000 },
    headersTimeout: 15_000,
    bodyTimeout: 15_000,
  })
}

/** Queues a callback; it is tried at once and again as the provider would until it is accepted. */
export function sendCallback(world: Surroundings, input: CallbackInput): Callback {
  const callback: Callback = {
    id: `cb_${randomBytes(9).toString('base64url')}`,
    provider: input.provider,
    account: input.account,
    message_ids: input.messageIds,
    events: input.events,
    url: input.url,
    state: 'pending',
    attempts: [],
    next_at: null,
    forged: input.forged ?? false,
    warning: null,
    headers: {},
    body: '',
  }
  const job = { callback, input, firstAt: Date.now(), onAttempt: [] }
  remember(world.callbacks, job)
  joinLane(world, job)
  return callback
}

/** What a callback of the log was made from. */
export function findCallbackInput(callbacks: Callbacks, id: string): CallbackInput | null {
  return callbacks.jobs.get(id)?.input ?? null
}

/** Resolves when the callback was accepted, answered otherwise, given up, or after `waitMs`. */
export async function waitForAnswer(world: Surroundings, callback: Callback, waitMs: number): Promise<void> {
  const job = world.callbacks.jobs.get(callback.id)
  if (!job) return
  const isAnswered = () =>
    callback.state !== 'pending' || callback.attempts.some(({ status }) => status !== null)
  if (isAnswered()) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, waitMs)
    job.onAttempt.push(() => {
      if (!isAnswered()) return
      clearTimeout(timer)
      resolve()
    })
  })
}

/** Oldest first. */
export function listCallbacks(callbacks: Callbacks): Callback[] {
  return [...callbacks.jobs.values()].map(({ callback }) => callback)
}

export function listCallbacksOf(callbacks: Callbacks, messageId: string): Callback[] {
  return callbacks.byMessage.get(messageId) ?? []
}

/** Drops everything, also what waits for a retry; calls on the wire end unheard. */
export function clearCallbacks(callbacks: Callbacks): void {
  const jobs = [...callbacks.jobs.values()]
  callbacks.byMessage.clear()
  callbacks.jobs.clear()
  callbacks.ready.length = 0
  callbacks.lanes.clear()
  for (const job of jobs) for (const wake of job.onAttempt) wake()
}

function remember(callbacks: Callbacks, job: Job): void {
  const { callback } = job
  callbacks.jobs.set(callback.id, job)
  for (const id of new Set(callback.message_ids)) {
    const known = callbacks.byMessage.get(id)
    if (known) known.push(callback)
    else callbacks.byMessage.set(id, [callback])
  }
  if (callbacks.jobs.size > KEPT_CALLBACKS) forgetOldest(callbacks)
}

/** What still waits to be taken is never forgotten. */
function forgetOldest(callbacks: Callbacks): void {
  const [oldest] = callbacks.jobs.values()
  if (!oldest || oldest.callback.state === 'pending') return
  callbacks.jobs.delete(oldest.callback.id)
  for (const id of oldest.callback.message_ids) callbacks.byMessage.delete(id)
}

function joinLane(world: Surroundings, job: Job): void {
  const { lanes } = world.callbacks
  const waiting = lanes.get(job.input.lane)
  if (waiting) waiting.push(job)
  else {
    lanes.set(job.input.lane, [])
    startLane(world, job)
  }
}

/** A receiver that hangs holds its lane up for a moment only. */
function startLane(world: Surroundings, job: Job): void {
  const { lane } = job.input
  let isOver = false
  const goOn = () => {
    if (isOver) return
    isOver = true
    const next = world.callbacks.lanes.get(lane)?.shift()
    if (next) startLane(world, next)
    else world.callbacks.lanes.delete(lane)
  }
  job.onAttempt.push(goOn)
  world.later(LONGEST_LANE_WAIT_MS, goOn)
  enqueue(world, job)
}

function enqueue(world: Surroundings, job: Job): void {
  world.callbacks.ready.push(job)
  startNext(world)
}

function startNext(world: Surroundings): void {
  const { callbacks } = world
  while (callbacks.inFlight < MAX_IN_FLIGHT) {
    const job = callbacks.ready.shift()
    if (!job) return
    callbacks.inFlight += 1
    void attempt(world, job).finally(() => {
      callbacks.inFlight -= 1
      startNext(world)
    })
  }
}

async function attempt(world: Surroundings, job: Job): Promise<void> {
  const { callback, input } = job
  const startedAt = Date.now()
  const built = input.build(world.signingTime())
  callback.next_at = null
  callback.headers = built.headers
  callback.body = built.body.toString()
  const made: CallbackAttempt = { at: world.now().toISOString(), ms: 0, status: null, answer: '' }
  let failure = ''
  try {
    const answer = await request(callback.url.split('#', 1)[0]!, {
      method: 'POST',
      headers: built.headers,
      body: built.body,
      dispatcher: world.callbacks.agent,
    })
    made.answer = (await answer.body.text()).slice(0, ANSWER_CHARACTERS)
    made.status = answer.statusCode
    callback.warning =
      input.warn?.(made.status, String(answer.headers['content-type'] ?? ''), made.answer) ?? null
  } catch (error) {
    failure = describeFailure(error)
    made.answer = failure
  }
  if (!world.callbacks.jobs.has(callback.id)) return
  made.ms = Date.now() - startedAt
  callback.attempts.push(made)
  settle(world, job, made, failure)
  for (const wake of job.onAttempt) wake()
}

function settle(world: Surroundings, job: Job, made: CallbackAttempt, failure: string): void {
  const { callback, input } = job
  if (made.status !== null && input.accepts(made.status)) {
    callback.state = 'delivered'
    return
  }
  const delayMs = input.forged
    ? null
    : nextRetryMs(input.provider, {
        url: callback.url,
        attempts: callback.attempts.length,
        ageMs: Date.now() - job.firstAt,
        status: made.status,
        failure,
        settings: world.settings,
      })
  if (delayMs === null) {
    callback.state = 'failed'
    return
  }
  callback.next_at = new Date(world.now().getTime() + delayMs).toISOString()
  world.later(delayMs, () => enqueue(world, job))
}

function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = (error as Error & { code?: unknown }).code
  return typeof code === 'string' ? code : error.message
}
