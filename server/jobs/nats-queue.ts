import type { Consumer, JetStreamClient, JsMsg } from '@nats-io/jetstream'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import type { Logger } from 'pino'
import { keepNatsLink, type NatsLink } from './nats-connection.ts'
import { type Notices, notices, OfferedWork, type Taking, type WorkQueue } from './queue.ts'

export interface NatsQueueOptions {
  url: string
  /** Sets apart what several installations have in one NATS. */
  readName(): Promise<string>
  log: Logger
}

interface Stream {
  name: string
  connection: NatsConnection
  client: JetStreamClient
  consumer: Consumer
}

type Listeners = Map<keyof Notices, Set<(notice: never) => void>>

const timeoutMs = 2_000
/** Long enough to be cheap; more is asked for as soon as slots get free. */
const takeMs = 5_000
const keptMs = 4_000
const mostKept = 100_000
const nanosecondsPerMs = 1e6

/**
 * Offers are messages of a JetStream work queue: each goes to one process, once. They are kept in memory, and dropped
 * when nobody takes them in time, because the database has all of it.
 */
export function openNatsQueue(options: NatsQueueOptions): WorkQueue {
  const changes = new Set<() => void>()
  const listeners: Listeners = new Map()
  let name: string | undefined
  const link = keepNatsLink<Stream>({
    url: options.url,
    log: options.log,
    prepare: async (connection) => {
      if (name === undefined) {
        name = await options.readName()
        subscribe(connection, { name, listeners, log: options.log })
      }
      return prepareStream(connection, name)
    },
    onChange: () => {
      for (const listener of changes) listener()
    },
  })
  return {
    isReady: () => link.current() !== undefined,
    onChange: (listener) => void changes.add(listener),
    offer: (work) =>
      withStream(link, async ({ client, name: stream }) => {
        await client.publish(`${stream}.offers`, JSON.stringify(work), { timeout: timeoutMs })
      }),
    take: (taking) => withStream(link, ({ consumer }) => take(consumer, taking, options.log)),
    tell(topic, notice) {
      const stream = link.current()
      stream?.connection.publish(`${stream.name}.${topic}`, JSON.stringify(notice))
    },
    hear(topic, listener) {
      const known = listeners.get(topic) ?? new Set()
      listeners.set(topic, known.add(listener))
    },
    close: () => link.close(),
  }
}

async function prepareStream(connection: NatsConnection, name: string): Promise<Stream> {
  const { jetstream, jetstreamManager } = await import('@nats-io/jetstream')
  const manager = await jetstreamManager(connection, { timeout: timeoutMs })
  const stream = {
    name,
    subjects: [`${name}.offers`],
    retention: 'workqueue' as const,
    storage: 'memory' as const,
    discard: 'new' as const,
    max_msgs: mostKept,
    max_age: keptMs * nanosecondsPerMs,
    duplicate_window: 1_000 * nanosecondsPerMs,
  }
  await manager.streams.add(stream).catch(() => manager.streams.update(name, stream))
  const durable = 'hands'
  await manager.consumers.add(name, {
    durable_name: durable,
    ack_policy: 'explicit',
    // Never sent again: an offer whose process died comes back with a new claim.
    max_deliver: 1,
    max_ack_pending: -1,
    max_waiting: 4_096,
  })
  const client = jetstream(connection)
  return { name, connection, client, consumer: await client.consumers.get(name, durable) }
}

interface Audience {
  name: string
  listeners: Listeners
  log: Logger
}

/** Subscriptions outlive the loss of a connection. */
function subscribe(connection: NatsConnection, { name, listeners, log }: Audience): void {
  for (const topic of ['wake', 'freed', 'hands'] as const) {
    const callback = (_error: Error | null, message: Msg) => {
      const notice = readNotice(topic, message)
      if (notice === undefined) return
      for (const listener of listeners.get(topic) ?? []) {
        try {
          listener(notice as never)
        } catch (error) {
          // Thrown on, it would end the connection.
          log.error({ err: error, topic }, 'a notice of the queue could not be acted on')
        }
      }
    }
    connection.subscribe(`${name}.${topic}`, { callback })
  }
}

/** @returns undefined for what is of a stranger. */
function readNotice(topic: keyof Notices, message: Msg): Notices[keyof Notices] | undefined {
  try {
    return notices[topic].parse(message.json())
  } catch {
    return undefined
  }
}

async function withStream(link: NatsLink<Stream>, use: (stream: Stream) => Promise<void>): Promise<void> {
  const stream = link.current()
  if (stream === undefined) throw new Error('NATS can not be reached.')
  try {
    await use(stream)
  } catch (error) {
    // By now it may have been prepared anew.
    if (link.current() === stream) link.repair(error)
    throw error
  }
}

async function take(consumer: Consumer, { most, signal, onOffer }: Taking, log: Logger): Promise<void> {
  const messages = await consumer.fetch({ max_messages: most, expires: takeMs })
  const leave = () => void messages.close()
  signal.addEventListener('abort', leave, { once: true })
  for await (const message of messages) {
    message.ack()
    const offer = readOffer(message)
    if (offer === undefined) log.warn('an offer could not be read')
    else onOffer(offer)
  }
  signal.removeEventListener('abort', leave)
}

function readOffer(message: JsMsg): OfferedWork | undefined {
  try {
    return OfferedWork.parse(message.json())
  } catch {
    return undefined
  }
}
