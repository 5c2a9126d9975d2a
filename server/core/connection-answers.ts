import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import type pg from 'pg'

/** What the driver keeps to itself. */
export interface Connection extends EventEmitter<{ errorMessage: [pg.DatabaseError]; readyForQuery: [] }> {
  stream: Socket
}

export function connectionOf(client: pg.ClientBase): Connection {
  return (client as unknown as { connection: Connection }).connection
}

/**
 * Whether a pooler stands between a connection and its server. It tells a process id of its own, and may give each
 * transaction another server.
 */
export async function isPooled(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const { processID: told } = client as unknown as { processID: number | null }
  return rows[0]?.pid !== told
}

type Answer = (error: Error | null, result: pg.QueryResult) => void
export type Send = (...asked: unknown[]) => never

/**
 * Has a connection answer by a callback that the driver is given. Its own, for promises, is a function that it assigns
 * to a property: V8 takes such functions for methods and puts them among what has grown old, where each keeps what it
 * refers to, values and rows, until a whole collection.
 */
export function answerByCallback(client: pg.ClientBase): void {
  const send = client.query.bind(client) as Send
  const query = (asked: object | string, values?: unknown) => {
    if (typeof asked === 'object' && 'submit' in asked) return send(asked)
    const answer = new Promise<pg.QueryResult>((resolve, reject) => {
      const settle: Answer = (error, result) => (error === null ? resolve(result) : reject(error))
      if (values === undefined) send(asked, settle)
      else send(asked, values, settle)
    })
    return answer.catch(failHere)
  }
  client.query = query as typeof client.query
}

/** With the stack of who asked: the error's own leads to a socket. */
function failHere(error: Error): never {
  Error.captureStackTrace(error)
  throw error
}

/** Breaks a connection that answers none of its statements for so long. */
export function breakWhenSilent(client: pg.ClientBase, longestSeconds: number): void {
  const send = client.query.bind(client) as Send
  const connection = connectionOf(client)
  let waiting = 0
  let since = 0
  const query: Send = (...asked) => {
    if (waiting === 0) since = performance.now()
    waiting += 1
    return send(...asked)
  }
  client.query = query
  connection.on('readyForQuery', () => {
    waiting -= 1
    since = performance.now()
  })
  const timer = setInterval(() => {
    const silentMs = performance.now() - since
    if (waiting === 0 || silentMs < longestSeconds * 1000) return
    connection.stream.destroy(new Error(`The database gave no answer within ${longestSeconds} s.`))
  }, longestSeconds * 100).unref()
  client.once('end', () => clearInterval(timer))
}
