import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void

/** A whole collection. */
export function collect(): void {
  gc()
}

/** How many bytes more are among what has grown old once `work` is done; what nobody refers to any more is, too, until a whole collection. */
export async function grownOld(work: () => Promise<unknown>): Promise<number> {
  gc()
  const before = oldBytes()
  await work()
  // Once to see that it lives, once to take it for old.
  gc({ type: 'minor' })
  gc({ type: 'minor' })
  return oldBytes() - before
}

function oldBytes(): number {
  const old = getHeapSpaceStatistics().filter(({ space_name: name }) =>
    ['old_space', 'large_object_space'].includes(name),
  )
  return old.reduce((sum, { space_used_size: used }) => sum + used, 0)
}
