import type { AddressInfo } from 'node:net'
import type { Config } from '#core/config.ts'
import type { Context } from '#core/context.ts'
import { openDatabase } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { keepYoung } from '#core/heap.ts'
import { createLogger } from '#core/logger.ts'
import { migrateDatabase } from '#core/migrate.ts'
import { createMetrics } from '#core/metrics/metrics.ts'
import { createProcessGauges, databaseGauges } from '#core/metrics/process-gauges.ts'
import { startPush } from '#core/metrics/push.ts'
import type { App, Module, Worker } from '#core/module.ts'
import { createOutbound } from '#core/outbound.ts'
import { provideDatabase, provideMasterKeys } from '#core/startup.ts'
import { issueFirstAdminKey } from '#tenants'
import { createApp } from './app.ts'
import { createScrapeApp } from './metrics.ts'
import { migrationSources, modules } from './modules.ts'

export type Role = 'api' | 'worker' | 'all'

export interface StartOptions {
  /** Module names; all when empty. */
  modules?: readonly string[]
  role?: Role
  now?: () => Date
}

export interface RunningServer {
  url: string
  context: Context
  /** The first admin key, once, when it was just made. */
  newAdminKey: string | undefined
  stop(): Promise<void>
}

const graceMs = 10_000

/**
 * Starts database, API and workers and answers when all of it takes work.
 * @throws PipeError when a setting, the port or the database stands in the way
 */
export async function startServer(config: Config, options: StartOptions = {}): Promise<RunningServer> {
  keepYoung()
  const chosen = chooseModules(options.modules ?? [])
  const masterKeys = await provideMasterKeys(config)
  const { ownerUrl, embedded } = await provideDatabase(config)
  const stops: Array<() => Promise<void>> = [async () => embedded?.stop()]
  const stop = async () => {
    for (const one of stops.splice(0).toReversed()) await one()
  }
  try {
    const log = createLogger(config.logLevel)
    const urls = await migrateDatabase(ownerUrl, migrationSources)
    const database = openDatabase({
      urls,
      onError: (error) => log.warn({ err: error }, 'database connection lost'),
    })
    const providerOutbound = createOutbound({ allowPrivateAddresses: true })
    const endpointOutbound = createOutbound({ allowPrivateAddresses: config.allowPrivateEndpoints })
    stops.push(async () => {
      await Promise.all([providerOutbound.close(), endpointOutbound.close()])
      await database.close()
    })
    const now = options.now ?? (() => new Date())
    const metrics = createMetrics({ serviceName: config.serviceName, now, log })
    const context: Context = {
      config,
      database,
      providerOutbound,
      endpointOutbound,
      masterKeys,
      now,
      log,
      metrics,
    }
    stops.push(measure(context, chosen))
    const newAdminKey = await issueFirstAdminKey(context)
    const role = options.role ?? 'all'
    if (config.metricsPort !== undefined) await listenForScrapes(context, config.metricsPort, stops)
    stops.push(startAll(chosen.flatMap((module) => module.links?.(context) ?? [])))
    if (role !== 'api')
      stops.push(startAll(chosen.flatMap((module) => module.workers?.(context, chosen) ?? [])))
    const url = role === 'worker' ? '' : await listen(context, chosen, stops)
    return { url, context, newAdminKey, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** What is looked up for metrics, and their way out, where they are sent. */
function measure(context: Context, chosen: readonly Module[]): () => Promise<void> {
  const { config, database, metrics, providerOutbound: outbound, log } = context
  const ofProcess = createProcessGauges()
  const ofModules = chosen.flatMap((module) => module.gauges?.(context) ?? [])
  for (const source of [ofProcess, databaseGauges(database), ...ofModules]) metrics.addGauges(source)
  const push = config.push && startPush(config.push, { metrics, outbound, log })
  return async () => {
    await push?.stop()
    ofProcess.stop()
  }
}

async function listenForScrapes(
  context: Context,
  port: number,
  stops: Array<() => Promise<void>>,
): Promise<void> {
  const app = createScrapeApp(context)
  stops.push(() => app.close())
  await listenOn(app, context.config.host, port)
}

function startAll(workers: readonly Worker[]): () => Promise<void> {
  for (const worker of workers) worker.start()
  return async () => {
    await Promise.all(workers.map((worker) => worker.stop(graceMs)))
  }
}

async function listen(
  context: Context,
  chosen: readonly Module[],
  stops: Array<() => Promise<void>>,
): Promise<string> {
  const { host, port } = context.config
  const app = await createApp(context, chosen)
  stops.push(async () => {
    // Fastify looks for idle connections once; one that is just being answered would be missed.
    const idle = setInterval(() => app.server.closeIdleConnections(), 100)
    const slowest = setTimeout(() => app.server.closeAllConnections(), graceMs)
    await app.close()
    clearInterval(idle)
    clearTimeout(slowest)
  })
  await listenOn(app, host, port)
  const bound = app.server.address() as AddressInfo
  return `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${bound.port}`
}

async function listenOn(app: App, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    throw new PipeError(
      'port_busy',
      500,
      `Port ${port} is in use by another program. Stop it or choose a free one.`,
    )
  }
}

function chooseModules(names: readonly string[]): readonly Module[] {
  if (names.length === 0) return modules
  const unknown = names.filter((name) => !modules.some((module) => module.name === name))
  if (unknown.length > 0) {
    const known = modules.map((module) => module.name).join(', ')
    throw new PipeError('module_unknown', 500, `There is no module ${unknown.join(', ')}. Modules: ${known}.`)
  }
  // The spine is a part of every server: without it nothing that is asked for could run.
  const wanted = new Set(names)
  for (const module of modules.toReversed())
    if (wanted.has(module.name)) for (const need of module.needs) wanted.add(need)
  return modules.filter((module) => wanted.has(module.name))
}
