import { parseArgs } from 'node:util'
import { stopOnSignals } from '../server/core/signals.ts'
import { startEmbeddedPostgres } from '../server/core/postgres/embedded-postgres.ts'

/**
 * A PostgreSQL alone, for runs that crash it and start it again. It ends with its standard input, so that it never
 * outlives who started it.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { folder: { type: 'string' }, port: { type: 'string' } } })
  const postgres = await startEmbeddedPostgres({
    folder: values.folder ?? '',
    port: Number(values.port),
    settings: { max_wal_size: '128MB' },
  })
  stopOnSignals(postgres.stop)
  process.stdin.resume().once('close', () => process.kill(process.pid, 'SIGTERM'))
  const { url, dataFolder } = postgres
  process.stdout.write(`${JSON.stringify({ url, dataFolder })}\n`)
}

await main()
