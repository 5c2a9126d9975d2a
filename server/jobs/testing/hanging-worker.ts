import { openDatabase } from '#core/database.ts'
import { createWorkLoop } from '../work-loop.ts'
import { silent } from './work.ts'

/** A worker process to be killed: finishes items named `quick…`, hangs in all others, prints what it starts. */
const [app, system, leaseSeconds] = process.argv.slice(2)
const database = openDatabase({ urls: { app: String(app), system: String(system) }, onError: () => {} })
createWorkLoop({
  database,
  kind: 'delivery',
  leaseSeconds: Number(leaseSeconds),
  log: silent,
  now: () => new Date(),
  run: (item) => {
    process.stdout.write(`${item.id}\n`)
    return item.id.startsWith('quick') ? Promise.resolve({ kind: 'done' }) : new Promise(() => {})
  },
}).start()
