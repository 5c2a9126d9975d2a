import { setTimeout as sleep } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Database, Tables } from '#core/database.ts'
import type { Worker } from '#core/module.ts'
import { onUnheardWake, wakeHere } from './wake.ts'
import { workKinds, type WorkKind } from './work.ts'

const channel = 'pipecore_work'
/** What is stored within so long of a notification shares the next: its commit takes a lock of the whole cluster. */
const gapMs = 10

/** Tells the workers of other processes of new work that nobody here works on. They find it without, too, but later. */
export function createWakeTeller({ database, log }: Pick<Context, 'database' | 'log'>): Worker {
  const kinds = new Set<WorkKind>()
  let telling: Promise<void> | undefined
  let end: (() => void) | undefined
  let isFailing = false
  async function tellAll(): Promise<void> {
    while (kinds.size > 0) {
      const told = [...kinds]
      kinds.clear()
      try {
        await notify(database.system, told)
        isFailing = false
      } catch (error) {
        if (!isFailing) log.warn({ err: error }, 'workers can not be told of new work; they find it later')
        isFailing = true
      }
      await sleep(gapMs)
    }
    telling = undefined
  }
  return {
    name: 'wake teller',
    start() {
      end ??= onUnheardWake((kind) => {
        kinds.add(kind)
        telling ??= Promise.resolve().then(tellAll)
      })
    },
    async stop() {
      end?.()
      await telling
    },
  }
}

/** Of its own: within the commit of the work itself that lock would halve what is taken. Nobody waits for the disk. */
async function notify(db: Kysely<Tables>, kinds: readonly WorkKind[]): Promise<void> {
  await sql`select set_config('synchronous_commit', 'off', true), pg_notify(${channel}, kind)
    from unnest(${kinds}::text[]) as told (kind)`.execute(db)
}

/** Wakes the loops of this process when another one tells of new work. */
export function createWakeListener({ database }: { database: Database }): Worker {
  let end: (() => Promise<void>) | undefined
  return {
    name: 'wake listener',
    start() {
      end ??= database.listen(channel, (told) => {
        const kind = workKinds.find((one) => one === told)
        if (kind !== undefined) wakeHere(kind, 'elsewhere')
      })
    },
    async stop() {
      await end?.()
    },
  }
}
