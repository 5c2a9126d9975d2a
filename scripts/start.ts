import { join, resolve } from 'node:path'
import { startSandbox } from '../sandbox/sandbox.ts'
import { loadConfig, type Config } from '../server/core/config.ts'
import { PipeError } from '../server/core/errors.ts'
import { stopOnSignals } from '../server/core/signals.ts'
import { readOrCreate } from '../server/core/startup.ts'
import { providerIds } from '../server/modules.ts'
import { type RunningServer, startServer } from '../server/server.ts'
import { createKey } from '../server/tenants/key-format.ts'
import { seedFirstTenant, tenantId } from './first-tenant.ts'

interface Stoppable {
  stop(): Promise<void>
}

async function start(running: Stoppable[]): Promise<void> {
  const config = loadConfig({ PIPECORE_LOG_LEVEL: 'warn', ...process.env }, providerIds)
  if (config.databaseUrl === undefined) return startEmbedded(config, running)
  const server = await startServer(config)
  running.push(server)
  print(`PipeCore is running.\n\n  API        ${server.url}\n  Reference  ${server.url}/reference\n`)
  if (server.newAdminKey !== undefined) print(`  Admin key  ${server.newAdminKey} (shown this once)\n`)
}

/** The database and the providers come along: everything works without an account anywhere. */
async function startEmbedded(config: Config, running: Stoppable[]): Promise<void> {
  const sandbox = await startSandbox({ port: config.sandboxPort }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error
    throw new PipeError(
      'port_busy',
      500,
      `Port ${config.sandboxPort} is in use by another program. Stop it or set SANDBOX_PORT to a free one.`,
    )
  })
  running.push({ stop: () => sandbox.close() })
  const keyFile = join(resolve(config.dataFolder), 'admin-key')
  let isNew = false
  const makeKey = () => {
    isNew = true
    return createKey()
  }
  const adminKey = config.adminKey ?? (await readOrCreate(keyFile, makeKey))
  const server = await startServer({ ...config, adminKey })
  running.push(server)
  await seedFirstTenant(server)
  print(
    welcome(
      server,
      sandbox.url,
      config.adminKey === undefined ? `$(cat '${keyFile}')` : '$PIPECORE_ADMIN_KEY',
    ),
  )
  if (isNew) print(`  Admin key  ${adminKey}\n             shown this once, kept in ${keyFile}\n`)
}

function welcome(server: RunningServer, sandboxUrl: string, key: string): string {
  const body = JSON.stringify({
    tenant_id: tenantId,
    to: '+56988888888',
    body: 'Tu pedido fue confirmado ✅',
  })
  return `PipeCore is running.

  API        ${server.url}
  Reference  ${server.url}/reference
  Sandbox    ${sandboxUrl}   (what the simulated providers received)

Send a first message:

  curl '${server.url}/messaging/send/sms?wait=2' \\
    -H "Authorization: Bearer ${key}" \\
    -H 'Content-Type: application/json' \\
    -d '${body}'

Ctrl-C stops everything.
`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function fail(error: unknown): never {
  const unexpected = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stderr.write(`${error instanceof PipeError ? error.message : unexpected}\n`)
  process.exit(1)
}

const running: Stoppable[] = []
const starting = start(running)

async function stopAll(): Promise<void> {
  await starting.catch(() => {})
  for (const one of running.splice(0).toReversed()) await one.stop()
}

stopOnSignals(async () => {
  print('\nStopping …')
  await stopAll()
})
starting.catch((error: unknown) => void stopAll().finally(() => fail(error)))
