/** Lent to its users and given back after the last of them. */
export interface Lent<Connection> {
  connection: Connection
  giveBack(): void
}

interface Share<Connection> {
  lent: Promise<Lent<Connection>>
  users: number
  since: number
}

/** Should some use always follow the one before, the connection could otherwise never be renewed. */
const longestShareMs = 60_000

/**
 * Shares one connection among all that use it at the same time, so that what they send leaves behind each other. After
 * a failure, and after a minute, who comes next gets another one.
 */
export function createPipelinedConnection<Connection>(
  lend: () => Promise<Lent<Connection>>,
  nowMs = () => performance.now(),
): <Result>(use: (connection: Connection) => Promise<Result>) => Promise<Result> {
  let current: Share<Connection> | undefined
  const leave = (share: Share<Connection>) => {
    if (current === share) current = undefined
  }
  const join = (): Share<Connection> => {
    if (current !== undefined && nowMs() - current.since > longestShareMs) current = undefined
    current ??= { lent: lend(), users: 0, since: nowMs() }
    current.users += 1
    return current
  }
  return async (use) => {
    const share = join()
    try {
      return await use((await share.lent).connection)
    } catch (error) {
      leave(share)
      throw error
    } finally {
      share.users -= 1
      if (share.users === 0) {
        leave(share)
        await share.lent.then(
          (lent) => lent.giveBack(),
          () => undefined,
        )
      }
    }
  }
}
