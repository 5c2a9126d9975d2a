import type { Kysely } from 'kysely'
import type { Tables, TenantScope } from '#core/database.ts'
import { findLastInbound } from './message-queries.ts'

const windowMs = 24 * 60 * 60 * 1000

/**
 * Until when free text may go to a contact from a sender: 24 hours after they last wrote to it (not after our
 * answers). Undefined when the window is closed. Another sender has a window of its own.
 */
export async function windowOpenUntil(
  db: Kysely<Tables>,
  scope: TenantScope,
  sender: string,
  contact: string,
  now: Date,
): Promise<Date | undefined> {
  const lastInboundAt = await findLastInbound(db, scope.tenantId, sender, contact)
  if (lastInboundAt === undefined) return undefined
  const until = new Date(lastInboundAt.getTime() + windowMs)
  return until > now ? until : undefined
}

export const windowClosedMessage =
  'WhatsApp carries free text only within 24 hours of the customer’s last message to this sender, and that window is closed. Send a template, or give one beside the text.'
