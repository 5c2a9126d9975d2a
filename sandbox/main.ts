import { parseArgs } from 'node:util'
import { startSandbox } from './sandbox.ts'

const { values } = parseArgs({ options: { port: { type: 'string' }, host: { type: 'string' } } })
const port = Number(values.port ?? process.env['SANDBOX_PORT'] ?? 10_090)

if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  process.stderr.write(
    `SANDBOX_PORT must be a port number, not "${values.port ?? process.env['SANDBOX_PORT']}"\n`,
  )
  process.exit(1)
}

try {
  const sandbox = await startSandbox({ port, host: values.host ?? '127.0.0.1' })
  const bases = Object.entries(sandbox.providerUrls).map(
    ([id, url]) => `  PROVIDER_URL_${id.toUpperCase()}=${url}`,
  )
  process.stdout.write(`Sandbox at ${sandbox.url}\n${bases.join('\n')}\n`)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void sandbox.close())
} catch (error) {
  const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
  process.stderr.write(
    isTaken ? `Port ${port} is taken: set SANDBOX_PORT to another one\n` : `${String(error)}\n`,
  )
  process.exitCode = 1
}
