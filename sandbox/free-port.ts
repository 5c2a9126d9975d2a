import { createServer } from 'node:net'

/** Below the range from which systems choose ports themselves, for outgoing connections and for `listen(0)`. */
const lowest = 20_000
const count = 12_000
const perProcess = 10
let found = 0

/**
 * A port that stays free until it is listened on, and while who listened there is started again: nobody else is given
 * one of this range, and each test process begins with ports of its own.
 */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = lowest + ((process.pid * perProcess + found) % count)
    found += 1
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
