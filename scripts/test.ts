import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../server/core/postgres/embedded-postgres.ts'
import { migrateDatabase } from '../server/core/migrate.ts'
import { migrationSources } from '../server/modules.ts'

const template = 'pipecore_template'
const everything = [
  'server/**/*.test.ts',
  'sandbox/**/*.test.ts',
  'scripts/**/*.test.ts',
  'acceptance/**/*.test.ts',
  'examples/**/*.test.ts',
]
// Files mostly wait for servers and databases, so a small machine runs two as well.
const concurrency = Math.max(2, availableParallelism() - 1)
const reporter = new URL('./test-reporter.ts', import.meta.url).href

/**
 * Runs the tests against a PostgreSQL of their own, which is gone afterwards. Arguments are files, globs and
 * flags of `node --test`.
 */
async function runTests(): Promise<number> {
  const interruption = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interruption.abort())
  }
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-test-'))
  try {
    const postgres = await startEmbeddedPostgres({ folder, durable: false })
    try {
      await makeTemplate(postgres.url)
      const settings = { PIPECORE_TEST_DATABASE_URL: postgres.url, PIPECORE_TEST_TEMPLATE: template }
      return await runNode(process.argv.slice(2), settings, interruption.signal)
    } finally {
      await postgres.stop()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function makeTemplate(url: string): Promise<void> {
  const owner = new pg.Client({ connectionString: url })
  await owner.connect()
  await owner.query(`create database ${template}`)
  await owner.end()
  const templateUrl = new URL(url)
  templateUrl.pathname = `/${template}`
  await migrateDatabase(templateUrl.href, migrationSources)
}

async function runNode(
  given: readonly string[],
  settings: Record<string, string>,
  interrupted: AbortSignal,
): Promise<number> {
  if (interrupted.aborted) return 1
  const flags = given.filter((one) => one.startsWith('-'))
  const files = given.filter((one) => !one.startsWith('-'))
  const isReported = flags.some((flag) => flag.startsWith('--test-reporter'))
  const child = spawn(
    process.execPath,
    [
      '--test',
      '--test-timeout=120000',
      `--test-concurrency=${concurrency}`,
      ...(isReported ? [] : [`--test-reporter=${reporter}`]),
      ...flags,
      ...(files.length > 0 ? files : everything),
    ],
    { stdio: 'inherit', env: { ...cleanEnvironment(), ...settings } },
  )
  interrupted.addEventListener('abort', () => child.kill('SIGINT'))
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

/** A developer's own settings must not decide what the tests see. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const isOurs = (name: string) => /^(PIPECORE_|PROVIDER_URL_|DATABASE_URL$|SANDBOX_PORT$|PORT$)/.test(name)
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOurs(name)))
}

process.exitCode = await runTests()
