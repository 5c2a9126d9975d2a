import { setTimeout as delay } from 'node:timers/promises'
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node'
import type { Logger } from 'pino'

export interface NatsLink<Prepared> {
  /** What was prepared, while the connection is up. */
  current(): Prepared | undefined
  /** Something of it turned out not to work. */
  repair(error: unknown): void
  close(): Promise<void>
}

export interface NatsLinkOptions<Prepared> {
  url: string
  log: Logger
  /** Makes sure of what is needed on the server; called again after every loss. */
  prepare(connection: NatsConnection): Promise<Prepared>
  onChange(): void
}

interface LinkState<Prepared> {
  options: NatsLinkOptions<Prepared>
  connection: NatsConnection | undefined
  prepared: Prepared | undefined
  /** Raised with every loss: what was being prepared before it is no good. */
  losses: number
  preparing: boolean
  closing: AbortController
}

const retryMs = 1_000
const timeoutMs = 3_000

/** Keeps a connection up until it is closed, however long the server stays away. */
export function keepNatsLink<Prepared>(options: NatsLinkOptions<Prepared>): NatsLink<Prepared> {
  const state: LinkState<Prepared> = {
    options,
    connection: undefined,
    prepared: undefined,
    losses: 0,
    preparing: false,
    closing: new AbortController(),
  }
  const running = keep(state)
  return {
    current: () => state.prepared,
    repair(error) {
      if (state.prepared === undefined) return
      options.log.warn({ err: error }, 'the queue does not do its work; preparing it anew')
      lose(state)
      void prepare(state)
    },
    async close() {
      state.closing.abort()
      // What was told last still leaves.
      await Promise.race([state.connection?.flush(), delay(retryMs)]).catch(() => undefined)
      await state.connection?.close()
      await running
    },
  }
}

async function keep<Prepared>(state: LinkState<Prepared>): Promise<void> {
  const connection = await connectUntilClosed(state.options, state.closing.signal)
  if (connection === undefined) return
  state.connection = connection
  void prepare(state)
  for await (const { type } of connection.status()) {
    if (type === 'disconnect') lose(state)
    if (type === 'reconnect') void prepare(state)
  }
}

function lose<Prepared>(state: LinkState<Prepared>): void {
  state.losses += 1
  if (state.prepared === undefined) return
  state.prepared = undefined
  if (!state.closing.signal.aborted) state.options.log.warn('the queue is lost; work goes on without it')
  state.options.onChange()
}

async function prepare<Prepared>(state: LinkState<Prepared>): Promise<void> {
  const { options, connection, closing } = state
  if (connection === undefined || state.preparing) return
  state.preparing = true
  for (let failed = false; !closing.signal.aborted && state.prepared === undefined;) {
    const { losses } = state
    try {
      const prepared = await options.prepare(connection)
      if (losses === state.losses) state.prepared = prepared
    } catch (error) {
      if (!failed) options.log.warn({ err: error }, 'the queue can not be prepared; trying on')
      failed = true
      await pause(closing.signal)
    }
  }
  state.preparing = false
  if (state.prepared === undefined) return
  options.log.info('the queue is there')
  options.onChange()
}

/** @returns undefined when it was closed before the server was there. */
async function connectUntilClosed<Prepared>(
  { url, log }: NatsLinkOptions<Prepared>,
  closing: AbortSignal,
): Promise<NatsConnection | undefined> {
  // Only here: who uses no queue does not pay for its client.
  const { connect } = await import('@nats-io/transport-node')
  for (let failed = false; !closing.aborted;) {
    try {
      return await connect(readNatsUrl(url))
    } catch (error) {
      if (!failed) log.warn({ err: error }, 'NATS can not be reached; work goes on without it')
      failed = true
      await pause(closing)
    }
  }
  return undefined
}

/** Credentials go in as options: the client writes the addresses of servers into its messages. */
export function readNatsUrl(url: string): ConnectionOptions {
  const { protocol, host, username, password } = new URL(url)
  return {
    servers: host,
    name: 'pipecore',
    timeout: timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: retryMs,
    // A server that hangs is noticed within seconds.
    pingInterval: 2_000,
    ...(protocol === 'tls:' && { tls: {} }),
    ...(password !== '' && { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
    ...(password === '' && username !== '' && { token: decodeURIComponent(username) }),
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await delay(retryMs, undefined, { signal }).catch(() => undefined)
}
