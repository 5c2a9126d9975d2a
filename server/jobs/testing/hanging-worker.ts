import { type DatabaseUrls, openDatabase } from '#core/database.ts'
import { createSharedWorkLoop } from '../queued-work.ts'
import type { WorkItem, WorkResult } from '../work.ts'
import { createWorkLoop } from '../work-loop.ts'
import { openTestQueue } from './nats.ts'
import { loopOptions } from './work.ts'

/** A worker process to be killed: finishes items named `quick…`, hangs in all others, prints what it starts. */
const [urls = '', leaseSeconds, queueUrl = ''] = process.argv.slice(2)
const database = openDatabase({ urls: JSON.parse(urls) as DatabaseUrls, onError: () => {} })
const options = {
  ...loopOptions(database),
  leaseSeconds: Number(leaseSeconds),
  run: (item: WorkItem): Promise<WorkResult> => {
    process.stdout.write(`${item.id}\n`)
    return item.id.startsWith('quick') ? Promise.resolve({ kind: 'done' }) : new Promise(() => {})
  },
}
const loop =
  queueUrl === '' ? createWorkLoop(options) : createSharedWorkLoop(options, openTestQueue(database, queueUrl))
loop.start()
