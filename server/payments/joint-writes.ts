import type { Kysely } from 'kysely'
import type { RecentRoute } from '#connections'
import type { Context } from '#core/context.ts'
import type { Database, Tables, TenantScope } from '#core/database.ts'
import { isRefusal } from '#core/database-refusal.ts'
import { createGroup } from '#core/grouped.ts'
import { createRecent, type Recent } from '#core/recent.ts'
import { factRecording, type NewFact } from '#webhooks/inbound'
import { eventRecording, type Telling } from '#webhooks/outbound'
import {
  arePaymentsStored,
  endUntouched,
  insertPaymentsWithCalls,
  insertQuietLooks,
  type PaymentEnd,
  type PaymentWithCall,
  type QuietLook,
} from './joint-queries.ts'

/** Payments of a tenant that are written at the same time share a statement: its commit costs more than its rows. */
interface JointWrites {
  store(payment: PaymentWithCall): Promise<boolean>
  end(end: ToldEnd): Promise<number | null>
  look(look: NoticedLook): Promise<boolean>
}

export interface ToldEnd extends PaymentEnd {
  telling: Telling
}

export interface NoticedLook extends QuietLook {
  fact: NewFact
}

const mostTogether = 50
/** One flush of each kind may wait for the disk while the next is written. */
const inFlight = 2
/** Nobody waits for the end of a look but its own job, and those of jobs that were claimed together end together. */
const lookGapMs = 20

/**
 * Stores a payment with its call in a transaction of its own, or one shared with its neighbours.
 * @returns whether it did: not where `route` does not stand any more
 */
export function storeTogether(
  context: Context,
  scope: TenantScope,
  payment: PaymentWithCall,
  route?: RecentRoute,
): Promise<boolean> {
  return writesOf(context, scope, route).store(payment)
}

/**
 * `endUntouched` of one call, shared in the same way.
 * @returns how many deliveries it and its neighbours opened; null where somebody touched the payment: nothing was written
 */
export function endTogether(context: Context, scope: TenantScope, end: ToldEnd): Promise<number | null> {
  return writesOf(context, scope).end(end)
}

/**
 * Writes down a webhook and what was then read, which was nothing new.
 * @returns whether it did: not where somebody touched the payment meanwhile
 */
export function lookTogether(context: Context, scope: TenantScope, look: NoticedLook): Promise<boolean> {
  return writesOf(context, scope).look(look)
}

const recentWrites = new WeakMap<Database, Recent<string, JointWrites>>()

function writesOf({ database }: Context, scope: TenantScope, route?: RecentRoute): JointWrites {
  const all = recentWrites.get(database) ?? createRecent({ most: 5_000, forMs: 60_000 })
  recentWrites.set(database, all)
  const key = `${scope.tenantId} ${route?.name ?? ''}`
  const writes = all.get(key) ?? createWrites(database, scope, route)
  all.set(key, writes)
  return writes
}

function createWrites(database: Database, scope: TenantScope, route?: RecentRoute): JointWrites {
  return {
    store: createGroup({
      maxSize: mostTogether,
      inFlight,
      flush: async (payments: readonly PaymentWithCall[]) => {
        const stored = await storeAll(database, scope, payments, route)
        return payments.map(() => stored)
      },
    }),
    end: createGroup({
      maxSize: mostTogether,
      inFlight,
      flush: (ends: readonly ToldEnd[]) => endAll(database, scope, ends),
    }),
    look: createGroup({
      maxSize: mostTogether,
      gapMs: lookGapMs,
      flush: (looks: readonly NoticedLook[]) => writeLooks(database, scope, looks),
    }),
  }
}

/** What a lost connection may have kept from being committed is written again: not twice, since it changes what it looks at. */
async function endAll(
  database: Database,
  scope: TenantScope,
  ends: readonly ToldEnd[],
): Promise<ReadonlyArray<number | null>> {
  const tellings = ends.map(({ telling }) => telling)
  const write = (db: Kysely<Tables>) => endUntouched(db, ends, (due) => eventRecording(tellings, due))
  const { ended, opened } = await database.asTenantOnce(scope, write).catch((error: unknown) => {
    if (isRefusal(error)) throw error
    return database.asTenantOnce(scope, write)
  })
  return ended.map((isEnded) => (isEnded ? opened : null))
}

function writeLooks(
  database: Database,
  scope: TenantScope,
  looks: readonly NoticedLook[],
): Promise<boolean[]> {
  const facts = looks.map(({ fact }) => fact)
  const write = (db: Kysely<Tables>) => insertQuietLooks(db, looks, (due) => factRecording(facts, due))
  // The webhooks' jobs end after it.
  return database.asTenantOnce(scope, write, { isRepeated: true })
}

/**
 * A lost connection may have lost the answer to a commit only. So they are stored again, which also waits for a commit
 * that still goes on; where the route fell meanwhile, what is there was stored before it did.
 */
async function storeAll(
  database: Database,
  scope: TenantScope,
  payments: readonly PaymentWithCall[],
  route?: RecentRoute,
): Promise<boolean> {
  const store = () =>
    database.asTenantOnce(scope, (db) => insertPaymentsWithCalls(db, payments, route?.stands))
  try {
    return await store()
  } catch (error) {
    if (isRefusal(error)) throw error
    const ids = payments.map(({ payment }) => payment.id)
    return (await store()) || database.readAsTenant(scope, (db) => arePaymentsStored(db, scope.tenantId, ids))
  }
}
