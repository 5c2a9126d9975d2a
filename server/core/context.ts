import type { Logger } from 'pino'
import type { Config } from './config.ts'
import type { Database } from './database.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { Outbound } from './outbound.ts'
import type { MasterKeys } from './sealing.ts'

/** What operations need from the process, always their first argument. */
export interface Context {
  config: Config
  database: Database
  /** To providers: base URLs come from us or the operator. */
  providerOutbound: Outbound
  /** To tenants' backends: addresses come from outside and are checked when dialled. */
  endpointOutbound: Outbound
  masterKeys: MasterKeys
  now: () => Date
  log: Logger
  metrics: Metrics
}
