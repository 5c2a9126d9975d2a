import type { Context } from '#core/context.ts'
import type { Worker } from '#core/module.ts'
import { openNatsQueue } from './nats-queue.ts'
import { readQueueName } from './queue-queries.ts'
import type { WorkQueue } from './queue.ts'
import { onWake } from './wake.ts'
import { createFeeder } from './work-feeder.ts'
import { createHand } from './work-hand.ts'
import { capacityOf, createWorkLoop, type WorkLoop, type WorkLoopOptions } from './work-loop.ts'

const queues = new WeakMap<Context, WorkQueue>()

/** The process's end of the queue, where one is set. It also tells those who claim of the work that this process made. */
export function createQueueLinks(context: Context): readonly Worker[] {
  const { queueUrl: url } = context.config
  if (url === undefined) return []
  const readName = () => readQueueName(context.database.system, 'delivery')
  const queue = openNatsQueue({ url, readName, log: context.log })
  queues.set(context, queue)
  let end: (() => void) | undefined
  return [
    {
      name: 'queue',
      start() {
        end ??= tellOfWork(queue)
      },
      async stop() {
        end?.()
        await queue.close()
      },
    },
  ]
}

/** Many pieces of work of one turn of the event loop are told of once. */
function tellOfWork(queue: WorkQueue): () => void {
  let told = false
  return onWake('delivery', () => {
    if (told) return
    told = true
    setImmediate(() => {
      told = false
      queue.tell('wake', {})
    })
  })
}

/** A work loop on the queue, where one is set. */
export function openWorkLoop<Detail>(context: Context, options: WorkLoopOptions<Detail>): WorkLoop {
  const queue = queues.get(context)
  return queue === undefined ? createWorkLoop(options) : createSharedWorkLoop(options, queue)
}

/** One of the processes on a queue claims for all. Without the queue each claims for itself. */
export function createSharedWorkLoop<Detail>(options: WorkLoopOptions<Detail>, queue: WorkQueue): WorkLoop {
  const hand = createHand(options, queue, capacityOf(options))
  // Who hands work out does not run it.
  const { expect: _, ...feeding } = options
  const feeder = createFeeder(feeding, queue)
  const alone = createWorkLoop(options, () => !queue.isReady())
  queue.onChange(() => alone.wake())
  const parts = [hand, feeder, alone]
  return {
    name: `${options.kind} work`,
    wake() {
      feeder.wake()
      alone.wake()
    },
    start() {
      for (const part of parts) part.start()
    },
    async stop(graceMs) {
      await Promise.all(parts.map((part) => part.stop(graceMs)))
    },
  }
}
