import { spawn } from 'node:child_process'
import { once } from 'node:events'

const runs = {
  payments: ['scripts/test.ts', '--test-timeout=3600000', 'acceptance/chaos/main.ts'],
  // It crashes a PostgreSQL of its own.
  bridge: ['acceptance/bridge/main.ts'],
} as const

/** `npm run chaos -- payments|bridge`: the long form of a run under faults; CHAOS_* say of what size. */
async function main(): Promise<number> {
  const [name = 'payments'] = process.argv.slice(2)
  if (name !== 'payments' && name !== 'bridge') {
    process.stderr.write(`There is no chaos of "${name}": ${Object.keys(runs).join(' or ')}.\n`)
    return 1
  }
  const child = spawn(process.execPath, runs[name], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

process.exitCode = await main()
