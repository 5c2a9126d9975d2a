import { ValueType } from '@opentelemetry/api'
import { emptyResource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import type { Logger } from 'pino'

export interface Gauge {
  name: string
  description: string
  unit?: string
  /** It only grows: seconds of processor time, for instance. */
  counts?: boolean
}

export interface Reading {
  gauge: string
  value: number
  labels?: Readonly<Record<string, string>>
}

export interface GaugeSource {
  gauges: readonly Gauge[]
  read(): readonly Reading[] | Promise<readonly Reading[]>
  /** The database is asked: readings are kept for a while and shared by all who ask. */
  kept?: boolean
}

interface Options {
  now: () => Date
  log: Logger
}

type HrTime = DataPoint<number>['startTime']

/**
 * Gauges go to the reader as they are: in the SDK's own ones an endpoint that is gone would keep its last value, and
 * every endpoint that ever was would count towards the limit.
 */
export function createGaugeProducer(options: Options): {
  producer: MetricProducer
  add: (source: GaugeSource) => void
} {
  const sources: GaugeSource[] = []
  const startedAt = toHrTime(options.now())
  async function collect(): Promise<CollectionResult> {
    const span = { startTime: startedAt, endTime: toHrTime(options.now()) }
    const read = async (source: GaugeSource) => toMetrics(source.gauges, await source.read(), span)
    const metrics = (await Promise.all(sources.map(read))).flat()
    const scopeMetrics = [{ scope: { name: 'pipecore' }, metrics }]
    return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] }
  }
  return {
    producer: { collect },
    add: (source) => void sources.push(source.kept === true ? keepReadings(source, options) : source),
  }
}

function toHrTime(time: Date): HrTime {
  const milliseconds = time.getTime()
  return [Math.floor(milliseconds / 1000), (milliseconds % 1000) * 1_000_000]
}

function toMetrics(
  gauges: readonly Gauge[],
  readings: readonly Reading[],
  span: { startTime: HrTime; endTime: HrTime },
): MetricData[] {
  const byGauge = Map.groupBy(readings, ({ gauge }) => gauge)
  return gauges.map(({ name, description, unit = '', counts = false }) => {
    const descriptor = { name, description, unit, valueType: ValueType.DOUBLE }
    const temporality = { aggregationTemporality: AggregationTemporality.CUMULATIVE }
    const dataPoints = (byGauge.get(name) ?? []).map(({ value, labels = {} }) => ({
      ...span,
      attributes: labels,
      value,
    }))
    return counts
      ? { descriptor, ...temporality, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
      : { descriptor, ...temporality, dataPointType: DataPointType.GAUGE, dataPoints }
  })
}

const shortestKeptMs = 10_000
/** Looking takes at most a fiftieth of the time, however much there is to look at. */
const keptPerMsOfLooking = 50
/** A scrape does not wait longer for a slow database: it gets what was read last. */
const longestWaitMs = 3_000

function keepReadings(source: GaugeSource, { now, log }: Options): GaugeSource {
  let readings: readonly Reading[] = []
  let keptUntil = 0
  let looking: Promise<void> | undefined

  async function look(): Promise<void> {
    const began = performance.now()
    try {
      readings = await source.read()
    } catch (error) {
      readings = []
      log.warn({ err: error, gauges: source.gauges.map(({ name }) => name) }, 'gauges can not be read')
    }
    const keptMs = Math.max(shortestKeptMs, keptPerMsOfLooking * (performance.now() - began))
    keptUntil = now().getTime() + keptMs
    looking = undefined
  }

  return {
    gauges: source.gauges,
    async read() {
      if (now().getTime() >= keptUntil) {
        looking ??= look()
        await settleWithin(looking, longestWaitMs)
      }
      return readings
    },
  }
}

async function settleWithin(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}
