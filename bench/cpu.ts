import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Linux counts them in hundredths of a second. */
const ticksPerSecond = 100

/** The process that a PostgreSQL's others are children of. */
export async function readPostmasterId(dataFolder: string): Promise<number> {
  const [id] = (await readFile(join(dataFolder, 'postmaster.pid'), 'utf8')).split('\n')
  return Number(id)
}

/** Seconds of processor time that a process and its children have used, ended ones included; NaN where there is no /proc. */
export async function readCpu(processId: number): Promise<number> {
  const names = await readdir('/proc').catch(() => [])
  const processes = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map(readTimes))
  const own = processes.find((one) => one?.id === processId)
  if (own === undefined) return Number.NaN
  const children = processes.filter((one) => one?.parent === processId)
  return children.reduce((sum, one) => sum + (one?.own ?? 0), own.own + own.ofEnded) / ticksPerSecond
}

interface Times {
  id: number
  parent: number
  own: number
  ofEnded: number
}

async function readTimes(name: string): Promise<Times | undefined> {
  const text = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // The name in brackets may hold spaces; after it come state, parent and so on.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15).map(Number)
  return { id: Number(name), parent: Number(fields[1]), own: user + system, ofEnded: endedUser + endedSystem }
}
