import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Step {
  name: string
  command: readonly [program: string, ...args: string[]]
  /** Shows what the tool writes while it runs; else only when it fails. */
  live?: boolean
}

const steps: readonly Step[] = [
  { name: 'format', command: ['oxfmt', '--check'] },
  { name: 'lint', command: ['oxlint'] },
  { name: 'types', command: ['tsc', '--noEmit'] },
  { name: 'unused code', command: ['knip'] },
  { name: 'generated files', command: ['node', 'scripts/generate.ts', '--check'] },
  { name: 'demo', command: ['npm', 'run', '--silent', 'demo'] },
  { name: 'tests', command: ['node', 'scripts/test.ts'], live: true },
]
const root = fileURLToPath(new URL('../', import.meta.url))

/** Everything that CI checks, in order; what fails does not keep the rest from being looked at. */
async function verify(): Promise<number> {
  const started = performance.now()
  const interruption = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => interruption.abort())
  }
  const failed: string[] = []
  for (const step of steps) {
    if (interruption.signal.aborted || !(await runStep(step, interruption.signal))) failed.push(step.name)
  }
  const passed = `${steps.length - failed.length} of ${steps.length} steps passed in ${secondsSince(started)}`
  print(failed.length === 0 ? `✔ ${passed}` : `✖ ${passed}; not: ${failed.join(', ')}`)
  return failed.length === 0 ? 0 : 1
}

async function runStep({ name, command, live = false }: Step, interrupted: AbortSignal): Promise<boolean> {
  const started = performance.now()
  const [program, ...args] = command
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, PATH: `${root}node_modules/.bin${delimiter}${process.env.PATH ?? ''}` },
    stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'],
  })
  const stop = () => child.kill()
  interrupted.addEventListener('abort', stop)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const [exitCode] = (await once(child, 'close')) as [number | null]
  interrupted.removeEventListener('abort', stop)
  print(`${exitCode === 0 ? '✔' : '✖'} ${name.padEnd(20)} ${secondsSince(started)}`)
  if (exitCode !== 0 && output !== '') print(output.trimEnd())
  return exitCode === 0
}

function secondsSince(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

process.exitCode = await verify()
