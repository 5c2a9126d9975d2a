import { pause } from '../chaos/calls.ts'
import { queryDatabase } from '../database.ts'
import { eventually, type PipeCore } from '../harness.ts'
import type { Random } from '../kill/random.ts'
import type { Disturbance } from './disturbances.ts'
import type { Stage } from './stage.ts'

interface Fault {
  /** Resolves when it is over; undefined where it can't be played. */
  play: ((stage: Stage, random: Random, noted: Disturbance) => Promise<void>) | undefined
  stopsDatabase?: boolean
}

const clockJumpMs = 3 * 60_000
const longestStartMs = 90_000

function listFaults({ disk }: Stage): Record<string, Fault> {
  return {
    'SIGKILL of a worker': { play: killWorker },
    'SIGKILL of the API': { play: killApi },
    'PostgreSQL crashes': { play: crashDatabase, stopsDatabase: true },
    'PostgreSQL and a worker crash': {
      play: async (stage, random, noted) => {
        await Promise.all([crashDatabase(stage, random), killWorker(stage, random, noted)])
      },
      stopsDatabase: true,
    },
    'connections terminated': { play: terminateConnections },
    'connections reset': {
      play: async ({ proxy }, random) => void proxy.reset(() => random.next() < 0.7),
    },
    'the disk is full': { play: disk.fill && fillDisk, stopsDatabase: true },
    'a clock jumps ahead': { play: (stage, random) => jumpClock(stage, random, clockJumpMs) },
    'a clock jumps back': { play: (stage, random) => jumpClock(stage, random, -clockJumpMs) },
  }
}

/** What can't be played on this machine. */
export function listMissing(stage: Stage): string[] {
  return Object.entries(listFaults(stage)).flatMap(([kind, { play }]) => (play === undefined ? [kind] : []))
}

const longestCalmMs = 2_500

/** One fault after the other, each kind once before any comes again, until it is over. */
export async function playFaults(
  stage: Stage,
  random: Random,
  { isOver, recover }: { isOver: () => boolean; recover: (fault: Disturbance) => Promise<void> },
): Promise<Disturbance[]> {
  const played: Disturbance[] = []
  const faults = Object.entries(listFaults(stage)).filter(([, { play }]) => play !== undefined)
  for (let deck: typeof faults = []; !isOver();) {
    if (deck.length === 0) deck = shuffle(faults, random)
    const [kind, { play, stopsDatabase = false }] = deck.shift()!
    await pause(random.between(0, longestCalmMs))
    const from = Date.now()
    const fault: Disturbance = { kind, from, until: from, killedAt: undefined, stopsDatabase }
    played.push(fault)
    await play?.(stage, random, fault)
    fault.until = Date.now()
    await recover(fault)
  }
  return played
}

function shuffle<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => [random.next(), item] as const)
    .toSorted(([one], [other]) => one - other)
    .map(([, item]) => item)
}

async function killWorker({ workers }: Stage, random: Random, noted: Disturbance): Promise<void> {
  const { process } = random.pick(workers)
  await process.kill('SIGKILL')
  noted.killedAt = Date.now()
  await startUntilItRuns(process)
}

async function killApi({ api }: Stage): Promise<void> {
  await api.kill('SIGKILL')
  await startUntilItRuns(api)
}

/** As a supervisor does: without a database a start fails. */
async function startUntilItRuns(process: PipeCore): Promise<void> {
  const restart = () =>
    process.restart().then(
      () => true,
      () => false,
    )
  await eventually(restart, longestStartMs)
}

async function crashDatabase({ postgres }: Stage, random: Random): Promise<void> {
  await postgres.crash()
  await pause(random.between(100, 3_000))
  await postgres.start()
}

async function terminateConnections({ postgres }: Stage): Promise<void> {
  await queryDatabase(
    postgres.url,
    `select pg_terminate_backend(pid) from pg_stat_activity where usename like 'pipecore%'`,
  )
}

async function fillDisk({ disk, postgres }: Stage, random: Random): Promise<void> {
  const until = performance.now() + random.between(2_000, 5_000)
  while (performance.now() < until) {
    await disk.fill?.()
    await pause(300)
  }
  await disk.free()
  // Without room for its log PostgreSQL stops.
  await postgres.start()
}

async function jumpClock({ workers }: Stage, random: Random, ms: number): Promise<void> {
  const { clock } = random.pick(workers)
  await clock.setOffset(ms)
  await pause(random.between(1_000, 4_000))
  await clock.setOffset(0)
}
