import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { isPooled } from './connection-answers.ts'

export interface ListeningOptions {
  url: string
  channel: string
  hear: (payload: string) => void
  /** Called once per loss. */
  onError: (error: Error) => void
}

const retryMs = 1_000

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
  const onListening = () => void (isLost = false)
  while (!ending.aborted) {
    try {
      await listen(options, { ending, onListening })
      return
    } catch (error) {
      if (!isLost && !ending.aborted) options.onError(error as Error)
      isLost = true
    }
    await sleep(retryMs, undefined, { signal: ending }).catch(() => undefined)
  }
}

interface Listening {
  ending: AbortSignal
  onListening: () => void
}

/** Until it is to end, or at once where it can't hear. @throws when the connection is lost */
async function listen(
  { url, channel, hear }: ListeningOptions,
  { ending, onListening }: Listening,
): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, keepAlive: true })
  const lost = Promise.withResolvers<never>()
  lost.promise.catch(() => undefined)
  client.on('error', lost.reject)
  const ended = new Promise<void>((resolve) => ending.addEventListener('abort', () => resolve()))
  try {
    await Promise.race([client.connect(), ended])
    if (ending.aborted || (await isPooled(client))) return
    client.on('notification', ({ payload = '' }) => hear(payload))
    await client.query(`listen ${pg.escapeIdentifier(channel)}`)
    onListening()
    await Promise.race([lost.promise, ended])
  } finally {
    await client.end()
  }
}
