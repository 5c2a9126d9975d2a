import type { Channel, MessageStatus } from './providers/provider.ts'

const rank: Record<MessageStatus, number> = {
  scheduled: 5,
  unknown: 9,
  queued: 10,
  sent: 30,
  delivered: 40,
  read: 50,
  failed: 60,
  canceled: 60,
}

/**
 * Whether a report moves a message on; reports come late, twice and out of order. On SMS and WhatsApp proof
 * of arrival beats an earlier failure; on e-mail a bounce beats an earlier delivery.
 */
export function advances(
  channel: Channel,
  current: MessageStatus | 'received',
  reported: MessageStatus,
): boolean {
  if (current === 'received' || current === 'canceled' || current === reported) return false
  if (reported === 'failed') return channel === 'email' || (current !== 'delivered' && current !== 'read')
  if (current === 'failed') return channel !== 'email' && (reported === 'delivered' || reported === 'read')
  return rank[reported] > rank[current]
}
