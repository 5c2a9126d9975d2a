import { randomUUID } from 'node:crypto'
import type { Meter } from '@opentelemetry/api'
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, MetricReader, type ResourceMetrics } from '@opentelemetry/sdk-metrics'
import type { Logger } from 'pino'
import { createGaugeProducer, type GaugeSource } from './gauges.ts'

/** What one process measures: one set of instruments for whoever scrapes and whoever is sent it. */
export interface Metrics {
  meter: Meter
  /** Values that are looked up when somebody asks for them. */
  addGauges(source: GaugeSource): void
  collect(): Promise<ResourceMetrics>
  /** In Prometheus' text format. */
  render(): Promise<string>
}

export interface MetricsOptions {
  serviceName: string
  now: () => Date
  log: Logger
}

export function createMetrics({ serviceName, now, log }: MetricsOptions): Metrics {
  const gauges = createGaugeProducer({ now, log })
  const reader = new Reader({ metricProducers: [gauges.producer] })
  const resource = resourceFromAttributes({
    'service.name': serviceName,
    'service.instance.id': randomUUID(),
  })
  const provider = new MeterProvider({ resource, readers: [reader] })
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)
  const collect = async () => (await reader.collect()).resourceMetrics
  return {
    meter: provider.getMeter('pipecore'),
    addGauges: gauges.add,
    collect,
    render: async () => `${serializer.serialize(await collect()).trimEnd()}\n`,
  }
}

/** Collects when it is asked to. */
class Reader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

/** A module's instruments: made once for each process, and found again without a look-up by name. */
export function instrumentsOf<Instruments>(
  make: (meter: Meter, metrics: Metrics) => Instruments,
): (context: { metrics: Metrics }) => Instruments {
  const made = new WeakMap<Metrics, Instruments>()
  return ({ metrics }) => {
    const known = made.get(metrics)
    if (known !== undefined) return known
    const instruments = make(metrics.meter, metrics)
    made.set(metrics, instruments)
    return instruments
  }
}

/** What a label says of all values that got none of their own. */
export const otherLabel = 'other'

/** Bounds the values of a label: the first ones keep their names for as long as the process lives. */
export function createLabels(most: number): (value: string) => string {
  const known = new Set<string>()
  return (value) => {
    if (known.has(value)) return value
    if (known.size >= most) return otherLabel
    known.add(value)
    return value
  }
}

/** In seconds, from a fast answer to the longest wait for one. */
export const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
