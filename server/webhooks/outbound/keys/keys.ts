import type { Context } from '#core/context.ts'
import { notFound } from '#core/errors.ts'
import { type EndpointRow, findEndpoint } from '../queries.ts'
import type { PublicKey, PublishedKeys } from './schema.ts'

/** What anybody may know. An endpoint with a shared secret is as unknown here as one that is not there. */
export async function getPublishedKeys(context: Context, endpointId: string): Promise<PublishedKeys> {
  const row = await findEndpoint(context.database.system, endpointId)
  const keys = row === undefined ? [] : publicKeysOf(row, context.now())
  if (keys.length === 0) throw notFound('endpoint', endpointId)
  return { endpoint_id: endpointId, keys }
}

/** Those that sign now, the current one first. */
export function publicKeysOf(row: EndpointRow, now: Date): PublicKey[] {
  const until = row.previous_secret_expires_at
  const overlaps = until !== null && until > now
  return [
    ...(row.public_key === null ? [] : [{ key: row.public_key, expires_at: null }]),
    ...(row.previous_public_key === null || !overlaps
      ? []
      : [{ key: row.previous_public_key, expires_at: until.toISOString() }]),
  ]
}
