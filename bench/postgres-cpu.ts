import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Linux counts them in hundredths of a second. */
const ticksPerSecond = 100

/** Seconds of processor time that a PostgreSQL has used, its ended processes included; undefined where there is no /proc. */
export async function readPostgresCpu(dataFolder: string): Promise<number | undefined> {
  const [postmaster = ''] = (await readFile(join(dataFolder, 'postmaster.pid'), 'utf8')).split('\n')
  const names = await readdir('/proc').catch(() => [])
  const processes = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map(readTimes))
  const own = processes.find((one) => one?.id === postmaster)
  if (own === undefined) return undefined
  const children = processes.filter((one) => one?.parent === postmaster)
  const ticks = children.reduce((sum, one) => sum + (one?.own ?? 0), own.own + own.ofEnded)
  return ticks / ticksPerSecond
}

interface Times {
  id: string
  parent: string
  own: number
  ofEnded: number
}

async function readTimes(id: string): Promise<Times | undefined> {
  const text = await readFile(`/proc/${id}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // The name in brackets may hold spaces; after it come state, parent and so on.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15).map(Number)
  return { id, parent: fields[1] ?? '', own: user + system, ofEnded: endedUser + endedSystem }
}
