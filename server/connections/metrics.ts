import type { Context } from '#core/context.ts'
import { durationBuckets, instrumentsOf } from '#core/metrics/metrics.ts'
import type { Outcome } from './provider.ts'

const instruments = instrumentsOf((meter) => ({
  calls: meter.createHistogram('pipecore_provider_call_duration_seconds', {
    description: 'Calls to providers by outcome and kind of error, and how long they took.',
    unit: 's',
    advice: { explicitBucketBoundaries: durationBuckets },
  }),
}))

export function measureCall(
  context: Context,
  provider: string,
  call: { outcome: Outcome<unknown>; durationMs: number },
): void {
  const { outcome } = call
  const kind = outcome.outcome === 'done' ? 'none' : outcome.error.kind
  instruments(context).calls.record(call.durationMs / 1000, { provider, outcome: outcome.outcome, kind })
}
