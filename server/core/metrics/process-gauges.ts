import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Database } from '../database.ts'
import type { GaugeSource, Reading } from './gauges.ts'

const nanoseconds = 1e9
const microseconds = 1e6

/** How this process is doing. */
export function createProcessGauges(): GaugeSource & { stop(): void } {
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  return {
    gauges: [
      {
        name: 'pipecore_event_loop_lag_seconds',
        description: 'How late the event loop was since the last scrape, by quantile.',
        unit: 's',
      },
      { name: 'pipecore_process_memory_bytes', description: 'Memory of the process, by kind.', unit: 'By' },
      {
        name: 'pipecore_process_cpu_seconds',
        description: 'Processor time the process has used.',
        unit: 's',
        counts: true,
      },
      { name: 'pipecore_process_uptime_seconds', description: 'How long the process runs.', unit: 's' },
    ],
    read() {
      const lag = (quantile: string, value: number) => ({
        gauge: 'pipecore_event_loop_lag_seconds',
        labels: { quantile },
        value: Number.isFinite(value) ? value / nanoseconds : 0,
      })
      const lags = [lag('0.5', delay.percentile(50)), lag('0.99', delay.percentile(99)), lag('1', delay.max)]
      delay.reset()
      const memory = process.memoryUsage()
      const { user, system } = process.cpuUsage()
      const kinds = { rss: memory.rss, heap_used: memory.heapUsed, external: memory.external }
      return [
        ...lags,
        ...Object.entries(kinds).map(([kind, value]) => ({
          gauge: 'pipecore_process_memory_bytes',
          labels: { kind },
          value,
        })),
        { gauge: 'pipecore_process_cpu_seconds', value: (user + system) / microseconds },
        { gauge: 'pipecore_process_uptime_seconds', value: process.uptime() },
      ]
    },
    stop: () => delay.disable(),
  }
}

/** Whether work waits for a connection to the database. */
export function databaseGauges(database: Database): GaugeSource {
  const connections = 'pipecore_database_connections'
  return {
    gauges: [
      { name: connections, description: 'Connections to the database, by pool and state.' },
      { name: 'pipecore_database_connections_most', description: 'Connections that a pool may open.' },
      { name: 'pipecore_database_waiting', description: 'Callers that wait for a connection of a pool.' },
    ],
    read: () =>
      database.pools().flatMap(({ pool, open, idle, waiting, most }): Reading[] => [
        { gauge: connections, labels: { pool, state: 'busy' }, value: open - idle },
        { gauge: connections, labels: { pool, state: 'idle' }, value: idle },
        { gauge: 'pipecore_database_connections_most', labels: { pool }, value: most },
        { gauge: 'pipecore_database_waiting', labels: { pool }, value: waiting },
      ]),
  }
}
