import { Cron } from 'croner'
import type { Context } from '#core/context.ts'
import type { JobDefinition, Worker } from '#core/module.ts'
import { createTraceId } from '#core/trace.ts'
import { enqueueJob } from './enqueue.ts'
import type { JobDefinitions } from './job-runner.ts'
import { wakeWork } from './wake.ts'

interface Schedule {
  definition: JobDefinition
  cron: Cron
  /** Nothing to do before. */
  next: Date | null
}

const checkEveryMs = 250
/** Shorter than a key is remembered: an older tick could run twice. */
const longestCatchUpMs = 31 * 86_400_000

/**
 * Enqueues scheduled jobs: each tick once over all processes, because its time is the job's key. Ticks that were
 * missed while nothing ran are made up for by one run at the next start.
 */
export function createScheduler(context: Context, definitions: JobDefinitions): Worker {
  const schedules = [...definitions.values()].flatMap(toSchedule)
  let timer: NodeJS.Timeout | undefined
  let checking: Promise<void> | undefined
  let failing = false

  async function check(): Promise<void> {
    try {
      for (const schedule of schedules) await enqueueDue(context, schedule)
      failing = false
    } catch (error) {
      if (!failing) context.log.error({ err: error }, 'scheduled jobs can not be enqueued; trying on')
      failing = true
    }
    checking = undefined
  }

  return {
    name: 'job schedules',
    start() {
      timer ??= setInterval(() => {
        checking ??= check()
      }, checkEveryMs)
    },
    async stop() {
      clearInterval(timer)
      await checking
    },
  }
}

/** @throws when the pattern is no cron pattern or the payload can't be made from nothing. */
function toSchedule(definition: JobDefinition): Schedule[] {
  if (definition.schedule === undefined) return []
  definition.payload.parse({})
  return [{ definition, cron: new Cron(definition.schedule, { timezone: 'UTC' }), next: new Date(0) }]
}

async function enqueueDue(context: Context, schedule: Schedule): Promise<void> {
  const now = context.now()
  if (schedule.next === null || now < schedule.next) return
  const [tick] = schedule.cron.previousRuns(1, now)
  if (tick !== undefined && now.getTime() - tick.getTime() < longestCatchUpMs) {
    const options = { key: tick.toISOString(), now, traceId: createTraceId() }
    const id = await context.database.asSystem((db) => enqueueJob(db, schedule.definition, {}, options))
    if (id !== undefined) wakeWork('job')
  }
  schedule.next = schedule.cron.nextRun(now)
}
