import { type Cluster, startCluster } from '../postgres.ts'
import { type PipeCore, startPipeCore } from './pipecore.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { startChildSide } from './sides/child-side.ts'
import type { ChildSide, Side } from './sides/side.ts'

/** PipeCore and those it is compared with, on one PostgreSQL, in front of one receiver. */
export interface Arena {
  cluster: Cluster
  receiver: Receiver
  pipecore: PipeCore
  /** PipeCore and the rivals that run. */
  sides: readonly Side[]
  /** What sides sign with. */
  secrets: readonly string[]
  /** Rivals that did not start, and why. */
  missing: readonly string[]
}

export interface ArenaOptions {
  tenants: number
  /** PipeCore's processes. */
  roles: ReadonlyArray<'all' | 'api' | 'worker'>
  rivals?: readonly ChildSide[]
  /** Statements are counted, which costs a little. */
  counting?: boolean
}

/** Lets `use` play in an arena and takes it down again. */
export async function withArena<Result>(
  options: ArenaOptions,
  use: (arena: Arena) => Promise<Result>,
): Promise<Result> {
  const ends: Array<() => Promise<void>> = []
  try {
    const cluster = await startCluster({ counting: options.counting ?? false })
    ends.push(() => cluster.close())
    const receiver = await startReceiver()
    ends.push(() => receiver.close())
    const { tenants, roles } = options
    const pipecore = await startPipeCore({ cluster, database: 'pipecore', tenants, receiver, roles })
    ends.push(() => pipecore.close())
    const { sides, missing } = await startRivals(options.rivals ?? [], { cluster, receiver, pipecore }, ends)
    const secrets = [pipecore.secret]
    return await use({ cluster, receiver, pipecore, sides: [pipecore, ...sides], secrets, missing })
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}

async function startRivals(
  names: readonly ChildSide[],
  { cluster, receiver, pipecore }: Pick<Arena, 'cluster' | 'receiver' | 'pipecore'>,
  ends: Array<() => Promise<void>>,
): Promise<{ sides: Side[]; missing: string[] }> {
  const sides: Side[] = []
  const missing: string[] = []
  for (const name of names) {
    try {
      const databaseUrl = await cluster.createRivalDatabase(name)
      const settings = { databaseUrl, receiverUrl: receiver.url, secret: pipecore.secret }
      const side = await startChildSide(name, settings)
      ends.push(() => side.close())
      sides.push(side)
    } catch (error) {
      missing.push(`${name}: ${String(error)}`)
    }
  }
  return { sides, missing }
}
