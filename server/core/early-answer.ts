import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'

/** Longer and more than any caller needs that only hears the answer once it has written everything. */
const longestMs = 30_000
const mostBytes = 64 * 1024 * 1024

/** Whether a caller may still be writing its body. */
export function isBodyComing({ complete, headers }: IncomingMessage): boolean {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  return hasBody && !complete
}

/**
 * An answer to a body that nobody will read. It is written at once and ends when the rest of the body was read and
 * thrown away: closed before that, the connection would be reset, and the answer lost on its way.
 */
export function createEarlyAnswer(text: string, incoming: IncomingMessage): Readable {
  const answer = new Readable({ read: () => {} })
  let discardedBytes = 0
  const discard = (chunk: Buffer) => {
    discardedBytes += chunk.length
    if (discardedBytes > mostBytes) end()
  }
  const end = () => {
    clearTimeout(deadline)
    incoming.off('data', discard).off('end', end).off('close', end)
    answer.push(null)
  }
  const deadline = setTimeout(end, longestMs)
  answer.push(text)
  incoming.on('data', discard).on('end', end).on('close', end).resume()
  return answer
}

const ending = new WeakMap<Socket, { fromBytes: number }>()

/** The same for what is no request: Node's parser complains of all that still comes, each time with a call of this. */
export function endGently(socket: Socket, text: string): void {
  const begun = ending.get(socket)
  if (begun !== undefined) {
    if (socket.bytesRead - begun.fromBytes > mostBytes) socket.destroy()
    return
  }
  if (!socket.writable) {
    socket.destroy()
    return
  }
  ending.set(socket, { fromBytes: socket.bytesRead })
  const deadline = setTimeout(() => socket.destroy(), longestMs)
  socket.once('close', () => clearTimeout(deadline))
  socket.end(text)
}
