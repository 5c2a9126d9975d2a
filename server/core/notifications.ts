import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { connectionOf, isPooled } from './connection-answers.ts'

export interface ListeningOptions {
  url: string
  channel: string
  hear: (payload: string) => void
  /** Called once per loss. */
  onError: (error: Error) => void
}

const retryMs = 1_000
/** A login that is refused for good fills nobody's log. */
const longestRetryMs = 60_000
/** Nothing is ever asked on it: what stands between may forget it, and only this would tell. */
const probeAfterMs = 60_000
const goodbyeMs = 1_000

/**
 * Hears what is told by `notify` on a channel, on a connection of its own. One that is lost is made anew; what is told
 * meanwhile is missed. Behind a transaction pooler nothing is heard, and nothing is tried.
 * @returns how to end it
 */
export function keepListening(options: ListeningOptions): () => Promise<void> {
  const ending = new AbortController()
  const listening = listenAgain(options, ending.signal)
  return async () => {
    ending.abort()
    await listening
  }
}

async function listenAgain(options: ListeningOptions, ending: AbortSignal): Promise<void> {
  let isLost = false
  let waitMs = retryMs
  const onListening = () => {
    isLost = false
    waitMs = retryMs
  }
  while (!ending.aborted) {
    try {
      await listen(options, { ending, onListening })
      return
    } catch (error) {
      if (!isLost && !ending.aborted) options.onError(error as Error)
      isLost = true
    }
    await sleep(waitMs, undefined, { signal: ending }).catch(() => undefined)
    waitMs = Math.min(waitMs * 2, longestRetryMs)
  }
}

interface Listening {
  ending: AbortSignal
  onListening: () => void
}

/** Until it is to end, or at once where it can't hear. @throws when the connection is lost */
async function listen(options: ListeningOptions, { ending, onListening }: Listening): Promise<void> {
  const client = new pg.Client({
    connectionString: options.url,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: probeAfterMs,
  })
  const over = Promise.withResolvers<void>()
  over.promise.catch(() => undefined)
  const end = () => over.resolve()
  client.on('error', over.reject)
  ending.addEventListener('abort', end)
  try {
    const isHearing = await Promise.race([begin(client, options), over.promise])
    if (isHearing !== true) return
    onListening()
    await over.promise
  } finally {
    ending.removeEventListener('abort', end)
    await leave(client)
  }
}

/** @returns whether it can hear */
async function begin(client: pg.Client, { channel, hear }: ListeningOptions): Promise<boolean> {
  await client.connect()
  if (await isPooled(client)) return false
  client.on('notification', ({ payload = '' }) => hear(payload))
  await client.query(`listen ${pg.escapeIdentifier(channel)}`)
  return true
}

/** A server that does not answer any more does not say goodbye either. */
async function leave(client: pg.Client): Promise<void> {
  await Promise.race([client.end(), sleep(goodbyeMs, undefined, { ref: false })])
  connectionOf(client).stream.destroy()
}
