import { z } from 'zod'
import { workKinds } from './work.ts'

/** A claim on its way to the process that runs it. Its body stays in the database. */
export const OfferedWork = z.object({
  item: z.object({
    id: z.string(),
    kind: z.enum(workKinds),
    lane: z.string(),
    series: z.string().nullable(),
    number: z.number().nullable(),
    ordered: z.boolean(),
    tenantId: z.string().nullable(),
    productId: z.string().nullable(),
    ref: z.string(),
    runAt: z.coerce.date(),
    attempt: z.number(),
  }),
  token: z.uuid(),
  claimedAt: z.coerce.date(),
  /** Its end may change what else may run: only once it is stored its slot is told to be free. */
  awaitsEnd: z.boolean().default(false),
})
export type OfferedWork = z.infer<typeof OfferedWork>

export interface Taking {
  most: number
  signal: AbortSignal
  onOffer: (work: OfferedWork) => void
}

const count = z.int().min(0)

/** What processes tell each other. Any of it may get lost. */
export const notices = {
  /** There is new work. */
  wake: z.object({}),
  /** These claims have freed their slots. */
  freed: z.object({ claims: z.array(z.string()) }),
  /** How much a process runs at once. */
  hands: z.object({ hand: z.string(), slots: count, laneCap: count, running: count }),
}
export type Notices = { [Topic in keyof typeof notices]: z.infer<(typeof notices)[Topic]> }

/**
 * Carries claimed work and notices between processes. PostgreSQL stays the truth: what is lost on the way is claimed
 * again when its lease has ended, and a process that can not reach the queue claims for itself.
 */
export interface WorkQueue {
  isReady(): boolean
  onChange(listener: () => void): void
  /** @throws when it is not known to have been taken; it may be on its way all the same. */
  offer(work: OfferedWork): Promise<void>
  /** Ends after `most` offers or some seconds. @throws when the queue is not there. */
  take(taking: Taking): Promise<void>
  tell<Topic extends keyof Notices>(topic: Topic, notice: Notices[Topic]): void
  hear<Topic extends keyof Notices>(topic: Topic, listener: (notice: Notices[Topic]) => void): void
  close(): Promise<void>
}
