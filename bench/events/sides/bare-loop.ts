import { type Delivery, sampleDeliveries } from '../sample-events.ts'
import { type Rival, type SideSettings, slots } from './side.ts'
import { createSignedPost } from './signed-post.ts'

/** The physical limit: an array in memory, nothing durable, nothing recorded. */
export function createBareLoop(settings: SideSettings): Rival {
  const post = createSignedPost(settings)
  let waiting: Delivery[] = []
  let loops: Array<Promise<void>> = []
  return {
    fill: async (count, tenants) => void (waiting = sampleDeliveries(count, tenants).toReversed()),
    open: async () => {
      loops = Array.from({ length: slots }, async () => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await post(next)
      })
    },
    settle: async () => void (await Promise.all(loops)),
  }
}
