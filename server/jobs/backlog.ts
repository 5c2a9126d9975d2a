import type { Context } from '#core/context.ts'
import type { GaugeSource, Reading } from '#core/metrics/gauges.ts'
import { countDeadJobs, readBacklog } from './backlog-queries.ts'
import type { WorkKind } from './work.ts'

export interface BacklogOptions {
  kind: WorkKind
  /** Of the gauges' names. */
  prefix: string
  /** What it is, in the plural. */
  noun: string
  /** Tells series apart, up to a number; absent: all is one. */
  seriesLabel?: { name: string; most: number }
}

/** What waits in the queue, for whoever's work it is. */
export function backlogGauges({ database, now }: Context, options: BacklogOptions): GaugeSource {
  const { kind, prefix, noun, seriesLabel } = options
  const [backlog, oldest] = [`${prefix}_backlog`, `${prefix}_oldest_due_seconds`]
  return {
    kept: true,
    gauges: [
      { name: backlog, description: `${noun} that are not over, due now or later.` },
      {
        name: oldest,
        description: `${noun}: for how long the one that has waited longest is due.`,
        unit: 's',
      },
    ],
    async read() {
      const shares = await readBacklog(database.system, { kind, now: now(), most: seriesLabel?.most ?? 0 })
      return shares.flatMap(({ series, due, later, oldest_due: oldestDue }): Reading[] => {
        const labels: Record<string, string> = seriesLabel === undefined ? {} : { [seriesLabel.name]: series }
        const ageMs = oldestDue === null ? 0 : now().getTime() - oldestDue.getTime()
        return [
          { gauge: backlog, labels: { ...labels, state: 'due' }, value: due },
          { gauge: backlog, labels: { ...labels, state: 'later' }, value: later },
          { gauge: oldest, labels, value: Math.max(0, ageMs) / 1000 },
        ]
      })
    },
  }
}

export function jobGauges(context: Context): readonly GaugeSource[] {
  const dead: GaugeSource = {
    kept: true,
    gauges: [
      {
        name: 'pipecore_jobs_dead',
        description: 'Jobs that used up their attempts and wait for an operator.',
      },
    ],
    read: async () => [{ gauge: 'pipecore_jobs_dead', value: await countDeadJobs(context.database.system) }],
  }
  return [backlogGauges(context, { kind: 'job', prefix: 'pipecore_job', noun: 'Jobs' }), dead]
}
