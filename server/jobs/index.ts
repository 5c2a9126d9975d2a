import type { Module } from '#core/module.ts'
import { jobGauges } from './backlog.ts'
import { ownJobs } from './jobs.ts'
import { routes } from './routes.ts'
import { createQueueLinks } from './queued-work.ts'
import { createWakeTeller } from './wake-others.ts'
import { createJobWorkers } from './workers.ts'

export { backlogGauges } from './backlog.ts'
export { listOldestDue } from './backlog-queries.ts'
export { enqueueJob, enqueueJobs, type EnqueueOptions, type NewJob } from './enqueue.ts'
export { forgetDeadWork, hurryWork, insertWork, type NewWork } from './new-work.ts'
export { findLastNumber, type Numbers, numberSeries, removeFromSeries } from './series-queries.ts'
export type { JobsTables } from './tables.ts'
export { wakeWork } from './wake.ts'
export type { FinishedWork, WorkItem, WorkKind, WorkResult } from './work.ts'
export type { EndedClaim } from './work-finish.ts'
export { changeSeries, finishArguments, type SeriesChange } from './work-queries.ts'
export { openWorkLoop } from './queued-work.ts'
export type { WorkLoopOptions } from './work-loop.ts'

export const jobs: Module = {
  name: 'jobs',
  needs: ['tenants'],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs: ownJobs,
  links: (context) => [createWakeTeller(context), ...createQueueLinks(context)],
  workers: createJobWorkers,
  gauges: jobGauges,
}
