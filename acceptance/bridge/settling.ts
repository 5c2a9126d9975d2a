import { pause } from '../chaos/calls.ts'
import type { Stage } from './stage.ts'

export interface Settled {
  /** Deliveries that were still to be made at the end. */
  open: number
  ms: number
  /** By so much the workers' clocks were moved: retries wait for minutes and hours. */
  skippedMs: number
}

const pollMs = 500
const aheadMs = 1_000

/** Everybody is well again; time passes until nothing is left to be delivered, or patience ends. */
export async function settle(stage: Stage, patienceMs: number): Promise<Settled> {
  stage.calm()
  const startedAt = performance.now()
  const elapsed = () => Math.round(performance.now() - startedAt)
  let skippedMs = 0
  for (;;) {
    const { open, latest } = await readOpen(stage)
    if (open === 0 || elapsed() > patienceMs) return { open, ms: elapsed(), skippedMs }
    const neededMs = latest - Date.now() + aheadMs
    if (neededMs > skippedMs) {
      skippedMs = neededMs
      await Promise.all(stage.workers.map(({ clock }) => clock.setOffset(skippedMs)))
    }
    await pause(pollMs)
  }
}

async function readOpen({ shop }: Stage): Promise<{ open: number; latest: number }> {
  const [row] = await shop.api.query(`
    select count(*)::int as open, max(greatest(work.run_at, work_series.paused_until)) as latest
    from work left join work_series on work_series.series = work.series
    where work.kind = 'delivery'`)
  return { open: Number(row?.['open']), latest: Number(row?.['latest'] ?? 0) }
}
