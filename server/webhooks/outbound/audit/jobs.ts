import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import type { JobDefinition } from '#core/module.ts'
import { createTraceId } from '#core/trace.ts'
import { wakeWork } from '#jobs'
import { recordRows, toEventRow } from '../events.ts'
import type { WholeEvent } from '../queries.ts'
import { forgetBlocks } from './forgetting.ts'
import { type ChainRow, findAuditKey, lockChainsWithNews, saveChains } from './queries.ts'
import { sealAttempts } from './sealing.ts'

const nothing = z.strictObject({})
const batch = 200

const seal: JobDefinition<z.infer<typeof nothing>> = {
  name: 'webhooks.seal_audit',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 600,
  schedule: '* * * * *',
  run: async (context, _payload, { signal }) => {
    await sealAttempts(context, signal)
  },
}

/** Tells each chain's newest hash once a day: who keeps it sees a tail that is missing later. */
const announce: JobDefinition<z.infer<typeof nothing>> = {
  name: 'webhooks.announce_audit',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 600,
  schedule: '50 0 * * *',
  run: async (context, _payload, { signal }) => {
    await announceHeads(context, signal)
  },
}

const forget: JobDefinition<z.infer<typeof nothing>> = {
  name: 'webhooks.forget_audit_leaves',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 600,
  schedule: '35 3 * * *',
  run: async (context, _payload, { signal }) => {
    await forgetBlocks(context, signal)
  },
}

export const auditJobs: readonly JobDefinition[] = [seal, announce, forget]

export async function announceHeads(context: Context, signal: AbortSignal): Promise<void> {
  for (let count = batch; count === batch;) {
    signal.throwIfAborted()
    count = await context.database.asSystem((db) => announceSome(context, db))
    wakeWork('delivery')
  }
}

async function announceSome(context: Context, db: Kysely<Tables>): Promise<number> {
  const now = context.now()
  const chains = await lockChainsWithNews(db, batch)
  if (chains.length === 0) return 0
  const events: WholeEvent[] = []
  for (const chain of chains) events.push(await toAnnouncement(db, chain, now))
  await recordRows(db, events, now)
  const announced = chains.map((chain, index) => ({
    ...chain,
    has_news: false,
    announced_event_id: events[index]?.id ?? null,
  }))
  await saveChains(db, announced)
  return chains.length
}

async function toAnnouncement(db: Kysely<Tables>, chain: ChainRow, now: Date): Promise<WholeEvent> {
  const key = await findAuditKey(db, chain.product_id)
  const { tenant_id: tenantId, product_id: productId } = chain
  const data = {
    tenant_id: tenantId === '' ? null : tenantId,
    block: chain.last_number,
    hash: chain.last_hash,
    key_id: key?.key_id ?? null,
    public_key: key?.public_key ?? null,
  }
  const scope = { tenantId, productId, traceId: createTraceId() }
  return toEventRow(scope, { type: 'audit.sealed', occurredAt: now, data }, now)
}
