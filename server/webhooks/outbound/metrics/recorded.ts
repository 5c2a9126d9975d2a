import type { GaugeSource } from '#core/metrics/gauges.ts'

const name = 'pipecore_events_recorded'
/** Of this process: where events are recorded nobody has more at hand than the transaction. */
const counts = new Map<string, number>()

/** Once they are committed. */
export function countRecorded(events: ReadonlyArray<{ type: string }>): void {
  for (const { type } of events) counts.set(type, (counts.get(type) ?? 0) + 1)
}

export const recordedGauges: GaugeSource = {
  gauges: [
    {
      name,
      description: "PipeCore's own events, by type, as this process recorded them.",
      counts: true,
    },
  ],
  read: () => [...counts].map(([type, value]) => ({ gauge: name, labels: { type }, value })),
}
