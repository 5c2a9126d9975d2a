import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { Test } from '../harness.ts'

export interface Proxy {
  /** `host:port` */
  host: string
  /** Resets so many of the connections, on both sides. */
  reset(choose: () => boolean): number
}

/** Stands between PipeCore and its database, and breaks connections as networks do. */
export async function startProxy(test: Test, port: number): Promise<Proxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    const pair = [near, far] as const
    pairs.add(pair)
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        pairs.delete(pair)
        for (const one of pair) one.destroy()
      })
    }
    near.pipe(far).pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(async () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    reset: (choose) => {
      const chosen = [...pairs].filter(choose)
      for (const pair of chosen) for (const socket of pair) socket.resetAndDestroy()
      return chosen.length
    },
  }
}
