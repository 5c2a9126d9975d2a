import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { invalidRequest, notFound, PipeError } from '#core/errors.ts'
import { createId } from '#core/ids.ts'
import { decodeCursor, type Page, toPage } from '#core/pagination.ts'
import { addressKey, normalizeAddress } from './addresses.ts'
import type { Channel, SuppressionReason } from './providers/provider.ts'
import {
  deleteSuppression,
  deleteSuppressionById,
  findSuppression,
  insertSuppression,
  listSuppressions,
  type SuppressionRow,
} from './suppression-queries.ts'

export interface Suppression {
  id: string
  channel: string
  address: string
  reason: string
  provider: string | null
  message_id: string | null
  created_at: string
}

const reasonWords: Record<string, string> = {
  opted_out: 'opted out',
  unsubscribed: 'unsubscribed',
  bounced: 'bounced for good',
  complained: 'reported a message as spam',
  manual: 'was put on the suppression list',
}

/** One list per tenant over all providers: who must not be written to on a channel, and why. */
export async function findSuppressionReason(
  db: Kysely<Tables>,
  scope: TenantScope,
  channel: Channel,
  address: string,
): Promise<string | undefined> {
  const row = await findSuppression(db, scope.tenantId, channel, addressKey(channel, address))
  return row === undefined
    ? undefined
    : `${address} ${reasonWords[row.reason] ?? row.reason} on ${row.created_at.toISOString()}.`
}

/** @throws PipeError `recipient_suppressed` (422) */
export async function refuseSuppressed(
  db: Kysely<Tables>,
  scope: TenantScope,
  channel: Channel,
  address: string,
): Promise<void> {
  const reason = await findSuppressionReason(db, scope, channel, address)
  if (reason === undefined) return
  throw new PipeError(
    'recipient_suppressed',
    422,
    `${reason} Remove them with DELETE /messaging/suppressions/${scope.tenantId}/:id only if they asked for it.`,
    { errors: [{ field: 'to', message: 'is on the suppression list' }] },
  )
}

export interface NewSuppression {
  channel: Channel
  address: string
  reason: SuppressionReason | 'manual'
  provider?: string
  messageId?: string
}

/** True when the address was not on the list before. */
export async function suppress(
  db: Kysely<Tables>,
  scope: TenantScope,
  entry: NewSuppression,
  at: Date,
): Promise<boolean> {
  return insertSuppression(db, {
    id: createId('sup'),
    tenant_id: scope.tenantId,
    channel: entry.channel,
    address: addressKey(entry.channel, entry.address),
    reason: entry.reason,
    provider: entry.provider ?? null,
    message_id: entry.messageId ?? null,
    created_at: at,
  })
}

/** What a contact's own wish may undo: not a bounce, a complaint or an operator's entry. */
const undoneBy: Record<SuppressionReason, readonly SuppressionReason[]> = {
  opted_out: ['opted_out', 'unsubscribed'],
  unsubscribed: ['opted_out', 'unsubscribed'],
  bounced: ['bounced'],
  complained: ['complained'],
}

/** Takes an address off the list if the entry is older than the wish and of a kind it may undo. True when it was. */
export function lift(
  db: Kysely<Tables>,
  scope: TenantScope,
  entry: { channel: Channel; address: string; reason: SuppressionReason; at: Date },
): Promise<boolean> {
  const { channel, address, reason, at } = entry
  const place = { channel, address: addressKey(channel, address) }
  return deleteSuppression(db, scope.tenantId, { ...place, reasons: undoneBy[reason], until: at })
}

export async function addSuppression(
  context: Context,
  scope: TenantScope,
  input: { channel: Channel; address: string },
): Promise<Suppression> {
  const normal = normalizeAddress(input.channel, input.address)
  if ('problem' in normal)
    throw invalidRequest('The address is not valid.', [{ field: 'address', message: normal.problem }])
  return context.database.asTenant(scope, async (db) => {
    await suppress(
      db,
      scope,
      { channel: input.channel, address: normal.address, reason: 'manual' },
      context.now(),
    )
    const row = await findSuppression(
      db,
      scope.tenantId,
      input.channel,
      addressKey(input.channel, normal.address),
    )
    if (row === undefined) throw notFound('suppression', normal.address)
    return present(row)
  })
}

export async function getSuppressions(
  context: Context,
  scope: TenantScope,
  query: { limit: number; cursor?: string | undefined; channel?: Channel | undefined },
): Promise<Page<Suppression>> {
  const before = decodeCursor(query.cursor)
  const rows = await context.database.asTenant(scope, (db) =>
    listSuppressions(db, scope.tenantId, { channel: query.channel, before, limit: query.limit + 1 }),
  )
  return toPage(rows, query.limit, present)
}

export async function removeSuppression(context: Context, scope: TenantScope, id: string): Promise<void> {
  const removed = await context.database.asTenant(scope, (db) =>
    deleteSuppressionById(db, scope.tenantId, id),
  )
  if (!removed) throw notFound('suppression', id)
}

function present(row: SuppressionRow): Suppression {
  return {
    id: row.id,
    channel: row.channel,
    address: row.address,
    reason: row.reason,
    provider: row.provider,
    message_id: row.message_id,
    created_at: row.created_at.toISOString(),
  }
}
