import { createHash } from 'node:crypto'
import type { Call, Reply } from '../http.ts'
import { invalidRequest, keyInUse, keyReused } from './stripe-errors.ts'
import type { Remembered, StripeAccount } from './stripe-state.ts'

const KEY_LIVES_MS = 24 * 60 * 60 * 1_000
const LONGEST_KEY = 255

/**
 * What a key's first call left, or is to leave: `reply` is null until that call is answered.
 * Null for calls without a key, and for all but POST.
 * @throws StripeError while the first call runs, or when this one says something else
 */
export function recallKey(
  account: StripeAccount,
  call: Call,
  { requestId, nowMs }: { requestId: string; nowMs: number },
): Remembered | null {
  const key = call.headers['idempotency-key']
  if (key === undefined || call.method !== 'POST') return null
  if (key.length < 1 || key.length > LONGEST_KEY)
    throw invalidRequest(`Idempotency keys must be between 1 and ${LONGEST_KEY} characters long.`)
  forgetOld(account, nowMs)
  const fingerprint = createHash('sha256').update(`${call.path}\n`).update(call.body).digest('base64')
  const known = account.idempotency.get(key)
  if (!known) {
    const begun = { fingerprint, requestId, reply: null, at: nowMs }
    account.idempotency.set(key, begun)
    return begun
  }
  if (known.fingerprint !== fingerprint) throw keyReused(key)
  if (known.reply === null) throw keyInUse(key)
  return known
}

export function replayReply({ reply, requestId }: Remembered): Reply {
  return {
    ...reply!,
    headers: { ...reply!.headers, 'idempotent-replayed': 'true', 'original-request': requestId },
  }
}

/** Oldest first: all keys live equally long. */
function forgetOld({ idempotency }: StripeAccount, nowMs: number): void {
  for (const [key, { at }] of idempotency) {
    if (nowMs - at < KEY_LIVES_MS) return
    idempotency.delete(key)
  }
}
