import { createCallbacks } from './callbacks.ts'
import type { Callbacks } from './callbacks.ts'
import type { FaultRule } from './faults.ts'
import type { LedgerEntry } from './payments/ledger.ts'
import type { PaymentFaultRule } from './payments/payment-faults.ts'

export const providerIds = ['twilio', 'meta', 'sendgrid', 'resend'] as const
export type ProviderId = (typeof providerIds)[number]
export type Channel = 'sms' | 'whatsapp' | 'email'

export type Settings = {
  /** Between the steps of a message's life: sent, delivered, read. */
  callback_delay_ms: number
  /** How much later the `late` fault brings callbacks. */
  late_ms: number
  /** The providers' real retry gaps are divided by this. */
  retry_factor: number
  /** Keep retrying a callback at least this long, every few seconds; 0 gives up exactly when the provider would. */
  patience_ms: number
  /** What happens to free text outside WhatsApp's 24 hours at Meta; Twilio always tells by callback. */
  window: 'http' | 'callback' | 'off'
  /** Sends per second and account before 429; absent means no limit. */
  rate_limits: Partial<Record<ProviderId, number>>
  clock_offset_ms: number
  /** Callbacks are signed in the callers' time, also when the clock of the providers was moved. */
  sign_in_present: boolean
  /** What chances are drawn from; moves on with every draw. */
  random_seed: number
}

export type Message = {
  id: string
  /** The call that made it: the recipients of one call share it. */
  effect_id: string
  provider: ProviderId
  account: string
  channel: Channel
  direction: 'outbound' | 'inbound'
  from: string
  to: string
  subject: string | null
  text: string | null
  html: string | null
  /** Template, media, attachments, headers: whatever the provider was given beyond the text. */
  details: Record<string, unknown>
  /** The sender's own id, as it travelled through this provider. */
  reference: string | null
  state: string
  history: Array<{ state: string; at: string }>
  fault: string | null
  created_at: string
}

export type RequestRecord = {
  at: string
  method: string
  url: string
  headers: Record<string, string>
  body: string
  /** HTTP status, or how the connection ended. */
  answer: number | 'hang' | 'reset' | 'open'
  ms: number | null
}

export type World = {
  /** Where this sandbox listens. */
  url: string
  settings: Settings
  messages: Map<string, Message>
  requests: RequestRecord[]
  /** Last time a customer wrote to a sender, in milliseconds: `provider sender customer`. */
  windows: Map<string, number>
  faults: FaultRule[]
  /** How often a limited magic recipient has already played its fault. */
  faultsPlayed: Map<string, number>
  /** Sends counted in the running second, per provider and account. */
  rates: Map<string, { second: number; count: number }>
  callbacks: Callbacks
  /** The payment providers' own books. */
  ledger: LedgerEntry[]
  paymentFaults: PaymentFaultRule[]
  /** 0 to 1; the same sequence for the same `random_seed`. */
  random(): number
  now(): Date
  /** What callbacks are signed with. */
  signingTime(): Date
  /** Runs later unless the sandbox is closed or reset first. */
  later(delayMs: number, run: () => void): void
  /** The same for a look at the sandbox's own clock, which may be at rest for days. */
  lookLater(delayMs: number, run: () => void): void
  /** How much `later` will still run. */
  countComing(): number
  forgetTimers(): void
}

const KEPT_MESSAGES = 20_000
const KEPT_REQUESTS = 500
const WINDOW_MS = 24 * 60 * 60 * 1000

export function createWorld(options: { now: () => Date; settings: Settings }): World {
  const coming = createTimers()
  const looks = createTimers()
  const world: World = {
    url: '',
    settings: options.settings,
    messages: new Map(),
    requests: [],
    windows: new Map(),
    faults: [],
    faultsPlayed: new Map(),
    rates: new Map(),
    callbacks: createCallbacks(),
    ledger: [],
    paymentFaults: [],
    random: () => nextRandom(world.settings),
    now: () => new Date(options.now().getTime() + world.settings.clock_offset_ms),
    signingTime: () => (world.settings.sign_in_present ? options.now() : world.now()),
    later: coming.start,
    lookLater: looks.start,
    countComing: coming.count,
    forgetTimers() {
      coming.forget()
      looks.forget()
    },
  }
  return world
}

function createTimers() {
  const timers = new Set<NodeJS.Timeout>()
  return {
    start: (delayMs: number, run: () => void) => {
      const timer = setTimeout(() => {
        timers.delete(timer)
        run()
      }, delayMs)
      timers.add(timer)
    },
    count: () => timers.size,
    forget: () => {
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
    },
  }
}

export function defaultSettings(callbackDelayMs = 40): Settings {
  return {
    callback_delay_ms: callbackDelayMs,
    late_ms: 5_000,
    retry_factor: 600,
    patience_ms: 180_000,
    window: 'http',
    rate_limits: {},
    clock_offset_ms: 0,
    sign_in_present: false,
    random_seed: 1,
  }
}

/** Mulberry32: small, and the same on every machine. */
function nextRandom(settings: Settings): number {
  settings.random_seed = (settings.random_seed + 0x6d2b79f5) >>> 0
  let mixed = settings.random_seed
  mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}

export function addMessage(
  world: World,
  input: Omit<Message, 'history' | 'created_at' | 'details'> & { details?: Record<string, unknown> },
): Message {
  const at = world.now().toISOString()
  const message: Message = { details: {}, ...input, history: [{ state: input.state, at }], created_at: at }
  world.messages.set(message.id, message)
  if (world.messages.size > KEPT_MESSAGES) world.messages.delete(world.messages.keys().next().value!)
  return message
}

export function setState(message: Message, state: string, at: Date): void {
  message.state = state
  message.history.push({ state, at: at.toISOString() })
}

export function recordRequest(world: World, record: RequestRecord): void {
  world.requests.push(record)
  if (world.requests.length > KEPT_REQUESTS) world.requests.shift()
}

/** A customer wrote: opens WhatsApp's window of this sender for them. */
export function openWindow(world: World, provider: ProviderId, sender: string, customer: string): void {
  world.windows.set(`${provider} ${sender} ${customer}`, world.now().getTime())
}

/** Whether the customer wrote to this sender within 24 hours; null means any sender, as of a pool. */
export function isWindowOpen(
  world: World,
  provider: ProviderId,
  sender: string | null,
  customer: string,
): boolean {
  if (world.settings.window === 'off') return true
  const isRecent = (last: number | undefined) =>
    last !== undefined && world.now().getTime() - last < WINDOW_MS
  if (sender !== null) return isRecent(world.windows.get(`${provider} ${sender} ${customer}`))
  return [...world.windows].some(([key, last]) => key.endsWith(` ${customer}`) && isRecent(last))
}

const LONGEST_LOOK_MS = 1_000

/** Runs at a time on the sandbox's own clock, looked at every second so a moved clock counts; null gives up. */
export function runAt(world: World, readDue: () => number | null, run: () => void): void {
  const due = readDue()
  if (due === null) return
  const waitMs = due - world.now().getTime()
  if (waitMs <= 0) run()
  else world.lookLater(Math.min(waitMs, LONGEST_LOOK_MS), () => runAt(world, readDue, run))
}
