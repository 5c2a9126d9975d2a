import { PgBoss } from 'pg-boss'
import { type Delivery, sampleDeliveries } from '../sample-events.ts'
import type { Rival, SideSettings } from './side.ts'
import { createSignedPost } from './signed-post.ts'

const queue = 'deliver'
const perBatch = 500

/** In its fastest settings for this job: two loops that fetch 500 rows each, without a pause while there are more. */
export async function createPgBoss(settings: SideSettings): Promise<Rival> {
  const post = createSignedPost(settings)
  const boss = new PgBoss({ connectionString: settings.databaseUrl, schedule: false, supervise: false })
  boss.on('error', (error) => process.stderr.write(`pg-boss: ${String(error)}\n`))
  await boss.start()
  await boss.createQueue(queue, { retryLimit: 0 })
  const options = {
    batchSize: perBatch,
    localConcurrency: 2,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5,
  }
  return {
    async fill(count, tenants) {
      const deliveries = sampleDeliveries(count, tenants)
      for (let from = 0; from < count; from += 2 * perBatch) {
        await boss.insert(
          queue,
          deliveries.slice(from, from + 2 * perBatch).map((data) => ({ data })),
        )
      }
    },
    async open() {
      await boss.work<Delivery>(queue, options, async (jobs) => {
        await Promise.all(jobs.map(({ data }) => post(data)))
      })
    },
    async settle() {
      await boss.offWork(queue, { wait: true })
      const [stats] = await boss.getQueueStats(queue)
      const left = (stats?.queuedCount ?? 0) + (stats?.activeCount ?? 0)
      if (left > 0) throw new Error(`pg-boss left ${left} jobs undone`)
    },
  }
}
