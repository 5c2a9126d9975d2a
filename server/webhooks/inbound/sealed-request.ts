import type { Kysely } from 'kysely'
import type { RawWebhook } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables } from '#core/database.ts'
import { openSecret, type SecretCell, sealSecret } from '#tenants'
import type { InboundWebhookRow } from './queries.ts'

interface Request {
  target: string
  headers: Record<string, string>
}

/** Target and headers as they came: what is verified again later. Anybody may have put anything into them. */
export function sealRequest(
  context: Context,
  db: Kysely<Tables>,
  row: InboundWebhookRow,
  { publicUrl, headers }: RawWebhook,
): Promise<string> {
  const request: Request = { target: publicUrl.slice(context.config.publicUrl.length), headers }
  return sealSecret(context, db, cellOf(row), JSON.stringify(request))
}

/** A refused webhook as it came; undefined when it came before requests were kept. */
export async function openRequest(
  context: Context,
  db: Kysely<Tables>,
  row: InboundWebhookRow,
): Promise<RawWebhook | undefined> {
  if (row.sealed_request === null || row.body === null) return undefined
  const text = await openSecret(context, db, cellOf(row), row.sealed_request)
  return toRawWebhook(context, row.method, { ...(JSON.parse(text) as Request), body: row.body })
}

export function toRawWebhook(
  context: Context,
  method: string,
  { target, headers, body }: Request & { body: Buffer },
): RawWebhook {
  const publicUrl = context.config.publicUrl + target
  return { method, publicUrl, query: new URL(publicUrl).searchParams, headers, body }
}

function cellOf(row: InboundWebhookRow): SecretCell {
  return {
    owner: `tenant:${row.tenant_id}`,
    table: 'inbound_webhooks',
    row: row.id,
    column: 'sealed_request',
  }
}
