import { callAtRate, medianOf, type Percentiles, percentilesOf } from '../load.ts'
import type { Options } from '../options.ts'
import { atMost, type Figure, type Report } from '../report.ts'
import { type Contest, mercadopagoContest, stripeContest, type Way } from './contests.ts'
import { type Spent, startStage, type Stage } from './stage.ts'

const ways: readonly Way[] = ['direct', 'pipecore']
const titles: Record<Way, string> = { direct: 'SDK', pipecore: 'PipeCore' }
const parts = ['caller', 'pipecore', 'postgres', 'simulator'] as const
const goal = { p50: 3, p99: 15 }
/** Enough that nothing is still compiled when it is measured. */
const warmUpSeconds = 5

interface Played {
  times: Percentiles
  /** Milliseconds of processor time per payment, with what followed it. */
  cpuMs: Spent
}

/** What a payment costs more through PipeCore than by the provider's own SDK, both at the same simulator without delay. */
export async function benchPayments(options: Options): Promise<Report> {
  const stage = await startStage()
  try {
    const rows: string[][] = []
    const costs: string[][] = []
    const figures: Figure[] = []
    for (const contest of [stripeContest(stage), mercadopagoContest(stage)]) {
      const played = await play(stage, contest, options)
      const { direct, pipecore } = played
      const over = (name: 'p50' | 'p90' | 'p99') => pipecore.times[name] - direct.times[name]
      const overhead = [over('p50'), over('p90'), over('p99')].map((figure) => `**+${figure.toFixed(1)}**`)
      for (const way of ways) {
        rows.push(timesRow(contest.name, titles[way], played[way].times))
        costs.push(costRow(contest.name, titles[way], played[way].cpuMs))
      }
      rows.push([contest.name, '**overhead**', ...overhead, '', ''])
      figures.push(atMost(`payments, ${contest.name}: overhead p50`, over('p50'), goal.p50, 'ms'))
      figures.push(atMost(`payments, ${contest.name}: overhead p99`, over('p99'), goal.p99, 'ms'))
    }
    const method = [
      `${options.rate} payments a second, at the simulated provider without delay, by the provider's own SDK and through PipeCore; ${options.rounds} rounds of ${options.seconds} s each way, alternated; medians; milliseconds from when a call was due. MercadoPago reports each payment by a webhook: to PipeCore, which verifies it and reads the payment once more, or to a listener beside the SDK, which only answers.`,
      'The second table: milliseconds of processor time per payment, webhooks included.',
    ]
    const times = { header: ['provider', 'way', 'p50', 'p90', 'p99', 'payments', 'failed'], rows }
    return { method, tables: [times, { header: costHeader, rows: costs }], figures, missing: [] }
  } finally {
    await stage.close()
  }
}

async function play(
  stage: Stage,
  contest: Contest,
  { rate, seconds, rounds }: Options,
): Promise<Record<Way, Played>> {
  for (const way of ways) await callAtRate(rate, warmUpSeconds, contest[way])
  await stage.settle()
  const played: Record<Way, Played[]> = { direct: [], pipecore: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ways) {
      const before = await stage.readSpent()
      const { timesMs, failed } = await callAtRate(rate, seconds, contest[way])
      await stage.settle()
      const cpuMs = spentEach(before, await stage.readSpent(), rate * seconds)
      played[way].push({ times: percentilesOf(timesMs, failed), cpuMs })
    }
  }
  return { direct: summarize(played.direct), pipecore: summarize(played.pipecore) }
}

function spentEach(before: Spent, after: Spent, payments: number): Spent {
  const each = (part: keyof Spent) => ((after[part] - before[part]) * 1000) / payments
  return {
    caller: each('caller'),
    pipecore: each('pipecore'),
    postgres: each('postgres'),
    simulator: each('simulator'),
  }
}

function summarize(played: readonly Played[]): Played {
  const time = (name: keyof Percentiles) => medianOf(played.map(({ times }) => times[name]))
  const sum = (name: 'count' | 'failed') => played.reduce((total, { times }) => total + times[name], 0)
  const cpu = (part: keyof Spent) => medianOf(played.map(({ cpuMs }) => cpuMs[part]))
  return {
    times: {
      p50: time('p50'),
      p90: time('p90'),
      p99: time('p99'),
      count: sum('count'),
      failed: sum('failed'),
    },
    cpuMs: {
      caller: cpu('caller'),
      pipecore: cpu('pipecore'),
      postgres: cpu('postgres'),
      simulator: cpu('simulator'),
    },
  }
}

function timesRow(provider: string, way: string, { p50, p90, p99, count, failed }: Percentiles): string[] {
  const figures = [p50, p90, p99].map((figure) => figure.toFixed(1))
  return [provider, way, ...figures, String(count), String(failed)]
}

const costHeader = ['provider', 'way', 'caller', 'PipeCore', 'PostgreSQL', 'simulator', 'all']

function costRow(provider: string, way: string, spent: Spent): string[] {
  const figures = parts.map((part) => spent[part])
  const all = figures.reduce((sum, figure) => sum + figure, 0)
  return [provider, way, ...[...figures, all].map((figure) => figure.toFixed(2))]
}
