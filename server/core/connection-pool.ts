import type { Socket } from 'node:net'
import { Client } from 'undici'
import { type Dial, type DialTimings, notDialled } from './connection-dial.ts'

/** One connection, lent to one call at a time: nothing is pipelined, nothing is repeated behind our back. */
export interface LentConnection {
  client: Client
  /** What dialling took since it was lent; of one that was kept, nothing. */
  dialled: Readonly<DialTimings>
  /** Gives the connection back, or ends it: whatever still happens on it is cut off at once. Call it once. */
  giveBack(fate: 'keep' | 'end'): void
}

export interface ConnectionPool {
  /** Calls `ready` now, or when the origin has a connection free. Returns a function that leaves the queue. */
  borrow(origin: string, ready: (connection: LentConnection) => void): () => void
  close(): Promise<void>
}

export interface ConnectionPoolOptions {
  dial: Dial
  maxConnectionsPerOrigin: number
  /** Beyond this many origins, the idle connections of those unused for longest are closed. */
  maxOrigins: number
  maxHeaderBytes: number
}

interface Connection extends LentConnection {
  socket: Socket | undefined
}

interface Origin {
  name: string
  open: Set<Connection>
  idle: Connection[]
  waiting: Set<(connection: LentConnection) => void>
}

interface Pool extends ConnectionPoolOptions {
  /** In order of last use; only those with a connection. */
  origins: Map<string, Origin>
  newest: Origin | undefined
}

/** The longest a connection stays idle, whatever longer time its server offers. */
const maxIdleMs = 60_000

export function createConnectionPool(options: ConnectionPoolOptions): ConnectionPool {
  const pool: Pool = { ...options, origins: new Map(), newest: undefined }
  return {
    borrow(name, ready) {
      const origin = touchOrigin(pool, name)
      const idle = origin.idle.pop()
      if (idle) ready(lend(idle))
      else if (origin.open.size < pool.maxConnectionsPerOrigin) ready(lendNew(pool, origin))
      else origin.waiting.add(ready)
      return () => origin.waiting.delete(ready)
    },
    async close() {
      const ends = [...pool.origins.values()].flatMap((origin) =>
        [...origin.open].map((connection) => endConnection(pool, origin, connection)),
      )
      await Promise.all(ends)
    },
  }
}

function touchOrigin(pool: Pool, name: string): Origin {
  const { newest } = pool
  if (newest?.name === name && pool.origins.has(name)) return newest
  const origin = pool.origins.get(name) ?? { name, open: new Set(), idle: [], waiting: new Set() }
  pool.origins.delete(name)
  pool.origins.set(name, origin)
  pool.newest = origin
  return origin
}

function lend(connection: Connection): LentConnection {
  connection.dialled = notDialled
  return connection
}

function giveBack(pool: Pool, origin: Origin, connection: Connection, fate: 'keep' | 'end'): void {
  if (fate === 'end') void endConnection(pool, origin, connection)
  const [next] = origin.waiting
  if (next) {
    origin.waiting.delete(next)
    next(fate === 'keep' ? lend(connection) : lendNew(pool, origin))
  } else if (fate === 'keep') {
    origin.idle.push(connection)
    endOldestIdle(pool)
  }
}

function lendNew(pool: Pool, origin: Origin): LentConnection {
  const connection: Connection = {
    client: new Client(origin.name, {
      connect: (target, callback) => {
        const timings = { ...notDialled }
        connection.dialled = timings
        connection.socket = pool.dial(target, callback, timings)
      },
      maxHeaderSize: pool.maxHeaderBytes,
      keepAliveMaxTimeout: maxIdleMs,
      headersTimeout: 0,
      bodyTimeout: 0,
    }),
    dialled: notDialled,
    socket: undefined,
    giveBack: (fate) => giveBack(pool, origin, connection, fate),
  }
  connection.client.on('disconnect', () => {
    if (origin.idle.includes(connection)) void endConnection(pool, origin, connection)
  })
  origin.open.add(connection)
  return lend(connection)
}

async function endConnection(pool: Pool, origin: Origin, connection: Connection): Promise<void> {
  origin.open.delete(connection)
  origin.idle = origin.idle.filter((idle) => idle !== connection)
  if (origin.open.size === 0 && origin.waiting.size === 0) pool.origins.delete(origin.name)
  const ended = connection.client.destroy()
  connection.socket?.destroy()
  await ended
}

function endOldestIdle(pool: Pool): void {
  for (const origin of pool.origins.values()) {
    if (pool.origins.size <= pool.maxOrigins) return
    if (origin.idle.length < origin.open.size) continue
    for (const connection of origin.idle) void endConnection(pool, origin, connection)
  }
}
