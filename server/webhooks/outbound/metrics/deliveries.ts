import type { Context } from '#core/context.ts'
import { timeOfId } from '#core/ids.ts'
import { createLabels, durationBuckets, instrumentsOf } from '#core/metrics/metrics.ts'
import { createTally } from '#core/metrics/tally.ts'
import type { WorkItem } from '#jobs'
import { isRedelivery } from '../events.ts'
import { mostEndpointsShown } from './gauges.ts'

interface Attempt {
  status: number | null
  durationMs: number
  called: boolean
}

/** From a delivery that goes at once to one that was tried again for days. */
const lagBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400]
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000]

const instruments = instrumentsOf((meter, metrics) => ({
  labelOf: createLabels(mostEndpointsShown),
  countAttempt: createTally(
    metrics,
    {
      name: 'pipecore_delivery_attempts',
      description: 'Attempts to deliver events, by endpoint, outcome and class of the answer.',
    },
    ['endpoint', 'outcome', 'status'],
  ),
  durations: meter.createHistogram('pipecore_delivery_attempt_duration_seconds', {
    description: 'How long receivers took to answer.',
    unit: 's',
    advice: { explicitBucketBoundaries: durationBuckets },
  }),
  lag: meter.createHistogram('pipecore_delivery_lag_seconds', {
    description: 'From an event accepted to an event delivered; without replays.',
    unit: 's',
    advice: { explicitBucketBoundaries: lagBuckets },
  }),
  batches: meter.createHistogram('pipecore_intake_batch_events', {
    description: 'Events of products that one statement stored; the sum is all that were published.',
    advice: { explicitBucketBoundaries: batchBuckets },
  }),
}))

export function measureAttempt(context: Context, item: WorkItem, outcome: string, attempt: Attempt): void {
  const { countAttempt, durations, lag, labelOf } = instruments(context)
  const { status, durationMs, called } = attempt
  const endpoint = labelOf(item.series ?? item.lane)
  countAttempt({ endpoint, outcome, status: status === null ? 'none' : `${Math.floor(status / 100)}xx` })
  if (called) durations.record(durationMs / 1000)
  if (outcome === 'delivered' && !isRedelivery(item)) lag.record(lagOf(context, item))
}

function lagOf({ now }: Context, { ref: eventId }: WorkItem): number {
  return Math.max(0, now().getTime() - timeOfId(eventId).getTime()) / 1000
}

export function measureBatch(context: Context, size: number): void {
  instruments(context).batches.record(size)
}
