import { readFileSync } from 'node:fs'
import { execSync } from 'node:child_process'
import { createTestDatabase } from '#core/testing/database.ts'
import { insertWork, itemsOf, countWork, startLoop, until } from './testing/work.ts'
import { createId } from '#core/ids.ts'
const ends: (() => Promise<void>)[] = []
const { database } = await createTestDatabase({ after: (e) => { ends.push(e) } })
const cpu = () => execSync("ps -eo times,args | awk '/postgres/ && !/awk/ {s+=$1} END {print s}'").toString()
const jiffies = () => { let sum = 0; for (const pid of execSync("pgrep -f postgres || true").toString().trim().split('\n')) { try { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' '); sum += Number(f[11]) + Number(f[12]) } catch {} } return sum * 10 }
for (const [lanes, slots, cap, ms] of [[10, 64, 32, 0], [1, 64, 32, 0], [1000, 64, 32, 0], [10, 256, 64, 0], [10, 64, 32, 2], [1, 64, 32, 2], [10, 256, 64, 2]] as const) {
  const n = 20000
  await insertWork(database, Array.from({ length: lanes }, (_, l) => itemsOf(`lane${l}`, n / lanes)).flat())
  let ran = 0
  const c0 = jiffies(), p0 = process.cpuUsage()
  const t0 = performance.now()
  const loop = startLoop({ after() {} }, database, async () => { ran++; if (ms) await new Promise((r) => setTimeout(r, ms)); return { kind: 'done' } }, { slots, laneCap: cap,
    record: async (db, finished) => { await db.insertInto('job_attempts').values(finished.map((f) => ({ id: createId('att'), job_id: f.item.ref, tenant_id: null, attempt: 1, outcome: 'done' as const, error: null, started_at: f.startedAt, duration_ms: f.durationMs }))).execute() } })
  await until(() => ran >= n)
  await until(async () => (await countWork(database)) === 0)
  const s = (performance.now() - t0) / 1000
  const p = process.cpuUsage(p0)
  console.log({ lanes, slots, cap, ms, perSecond: Math.round(n / s), pgUs: Math.round((jiffies() - c0) * 1000 / n), nodeUs: Math.round((p.user + p.system) / n) })
  await loop.stop(1000)
}
void cpu
for (const e of ends) await e()
