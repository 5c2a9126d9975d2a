import { z } from 'zod'
import type { Context } from '#core/context.ts'
import { firstIdOf } from '#core/ids.ts'
import { type JobDefinition, RetryLater } from '#core/module.ts'
import {
  type Day,
  deleteDeadWork,
  deleteJobKeys,
  listUnsettledDays,
  maintainPartitions,
  settleDay,
  type Settlement,
} from './queries.ts'

const deadWorkDays = 30
const keyDays = 35

const maintenance: JobDefinition = {
  name: 'jobs.maintain_partitions',
  payload: z.strictObject({}),
  attempts: 10,
  timeoutSeconds: 3600,
  schedule: '10 0 * * *',
  async run(context) {
    const changes = await context.database.asSystemAlone(maintainPartitions)
    if (changes.length > 0) context.log.info({ changes }, 'partitions maintained')
    if (changes.some((change) => change.action === 'postponed')) throw postponed()
  },
}

const settlement: JobDefinition = {
  name: 'jobs.settle_days',
  payload: z.strictObject({}),
  attempts: 10,
  timeoutSeconds: 3600,
  schedule: '20 0 * * *',
  async run(context, _payload, { signal }) {
    const changes: Array<Day & { action: Settlement }> = []
    for (const day of await listUnsettledDays(context.database.system)) {
      signal.throwIfAborted()
      const action = await context.database.asSystemAlone((db) => settleDay(db, day))
      if (action !== undefined) changes.push({ ...day, action })
    }
    if (changes.length > 0) context.log.info({ changes }, 'old days settled')
    if (changes.some((change) => change.action === 'postponed')) throw postponed()
  },
}

function postponed(): RetryLater {
  return new RetryLater('A long transaction holds a table whose partitions change.', 60_000)
}

const expiry: JobDefinition = {
  name: 'jobs.delete_expired',
  payload: z.strictObject({}),
  attempts: 10,
  timeoutSeconds: 900,
  schedule: '40 3 * * *',
  async run(context) {
    const { system } = context.database
    const deadWork = await deleteDeadWork(system, daysAgo(context, deadWorkDays))
    const keys = await deleteJobKeys(system, firstIdOf('job', daysAgo(context, keyDays)))
    context.log.info({ deadWork, keys }, 'expired rows deleted')
  },
}

function daysAgo(context: Context, days: number): Date {
  return new Date(context.now().getTime() - days * 86_400_000)
}

export const ownJobs: readonly JobDefinition[] = [maintenance, settlement, expiry]
