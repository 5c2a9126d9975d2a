import type { Context } from '#core/context.ts'
import { durationBuckets, instrumentsOf } from '#core/metrics/metrics.ts'

const instruments = instrumentsOf((meter) => ({
  runs: meter.createHistogram('pipecore_job_run_duration_seconds', {
    description: 'Runs of jobs by name and outcome, and how long they took.',
    unit: 's',
    advice: { explicitBucketBoundaries: durationBuckets },
  }),
}))

export function measureRun(
  context: Context,
  run: { job: string; outcome: string; durationMs: number },
): void {
  const { job, outcome, durationMs } = run
  instruments(context).runs.record(durationMs / 1000, { job, outcome })
}
