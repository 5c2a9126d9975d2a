import { Logger, makeWorkerUtils, run, type Runner } from 'graphile-worker'
import { type Delivery, sampleDeliveries } from '../sample-events.ts'
import { type Rival, type SideSettings, slots } from './side.ts'
import { createSignedPost } from './signed-post.ts'

const perStatement = 1000

/** In its fastest settings for this job: rows are fetched 2,000 at a time and ended in batches. */
export async function createGraphileWorker(settings: SideSettings): Promise<Rival> {
  const post = createSignedPost(settings)
  const logger = new Logger(() => () => undefined)
  const preset = {
    worker: {
      connectionString: settings.databaseUrl,
      concurrentJobs: slots,
      maxPoolSize: 10,
      localQueue: { size: 2000 },
      completeJobBatchDelay: 20,
      failJobBatchDelay: 20,
      logger,
    },
  }
  const database = await makeWorkerUtils({ preset })
  await database.migrate()
  let runner: Runner | undefined
  return {
    async fill(count, tenants) {
      const deliveries = sampleDeliveries(count, tenants)
      for (let from = 0; from < count; from += perStatement) {
        const specs = deliveries
          .slice(from, from + perStatement)
          .map((payload) => ({ identifier: 'deliver', payload }))
        await database.addJobs(specs)
      }
    },
    async open() {
      const taskList = { deliver: (payload: unknown) => post(payload as Delivery) }
      runner = await run({ preset, taskList, parsedCronItems: [], noHandleSignals: true })
    },
    async settle() {
      await runner?.stop()
      await database.withPgClient(async (client) => {
        const { rows } = await client.query<{ left: number }>(
          'select count(*)::int as left from graphile_worker.jobs',
        )
        if (rows[0]?.left !== 0) throw new Error(`graphile-worker left ${rows[0]?.left} jobs undone`)
      })
    },
  }
}
