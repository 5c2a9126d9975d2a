import { parseArgs } from 'node:util'
import { loadConfig } from '#core/config.ts'
import { PipeError } from '#core/errors.ts'
import { stopOnSignals } from '#core/signals.ts'
import { providerIds } from './modules.ts'
import { type Role, startServer } from './server.ts'

const roles: readonly Role[] = ['api', 'worker', 'all']

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { role: { type: 'string', default: 'all' }, port: { type: 'string' } },
  })
  const role = roles.find((one) => one === values.role)
  if (role === undefined)
    throw new PipeError('role_unknown', 500, `--role must be one of ${roles.join(', ')}.`)
  const environment = values.port === undefined ? process.env : { ...process.env, PORT: values.port }
  const starting = startServer(loadConfig(environment, providerIds), { modules: positionals, role })
  stopOnSignals(async () => (await starting).stop())
  const server = await starting
  server.context.log.info({ url: server.url, role, modules: positionals }, 'PipeCore is running')
  if (server.newAdminKey !== undefined) {
    process.stdout.write(`Admin key, shown this once: ${server.newAdminKey}\n`)
  }
}

function isArgumentError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

main().catch((error: unknown) => {
  const text =
    error instanceof PipeError || isArgumentError(error)
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error)
  process.stderr.write(`${text}\n`)
  process.exit(1)
})
