/** What a card's bank, or MercadoPago itself, says to a charge. */
export type Verdict = { status: 'approved' | 'rejected' | 'in_process' | 'pending'; detail: string }

export const approved: Verdict = { status: 'approved', detail: 'accredited' }

/** MercadoPago's own words for cardholders that decide what happens; CHAL, which asks for 3-D Secure, is the sandbox's. */
const words: Record<string, Verdict> = {
  APRO: approved,
  TEST: approved,
  CONT: { status: 'in_process', detail: 'pending_contingency' },
  CHAL: { status: 'pending', detail: 'pending_challenge' },
  OTHE: reject('cc_rejected_other_reason'),
  CALL: reject('cc_rejected_call_for_authorize'),
  FUND: reject('cc_rejected_insufficient_amount'),
  SECU: reject('cc_rejected_bad_filled_security_code'),
  EXPI: reject('cc_rejected_bad_filled_date'),
  FORM: reject('cc_rejected_bad_filled_other'),
  CARD: reject('cc_rejected_bad_filled_card_number'),
  INST: reject('cc_rejected_invalid_installments'),
  DUPL: reject('cc_rejected_duplicated_payment'),
  LOCK: reject('cc_rejected_card_disabled'),
  CTNA: reject('cc_rejected_card_type_not_allowed'),
  ATTE: reject('cc_rejected_max_attempts'),
  BLAC: reject('cc_rejected_blacklist'),
  UNSU: reject('cc_rejected_other_reason'),
}

const otherDetails: Record<string, Verdict['status']> = {
  pending_review_manual: 'in_process',
  offline_process: 'in_process',
  deferred_retry: 'in_process',
  pending_provider_response: 'pending',
  cc_rejected_high_risk: 'rejected',
  cc_rejected_3ds_challenge: 'rejected',
  cc_rejected_3ds_mandatory: 'rejected',
  cc_rejected_time_out: 'rejected',
  bank_error: 'rejected',
  bank_rejected: 'rejected',
  rejected_by_regulations: 'rejected',
  collector_unavailable: 'rejected',
  payer_unavailable: 'rejected',
}

function reject(detail: string): Verdict {
  return { status: 'rejected', detail }
}

/** The verdict of a test word (`FUND`) or of a `status_detail` itself; undefined for anything else. */
export function findVerdict(word: string): Verdict | undefined {
  const known = words[word.toUpperCase()]
  if (known) return known
  const detail = word.toLowerCase()
  const status = otherDetails[detail]
  if (status) return { status, detail }
  return Object.values(words).find((verdict) => verdict.detail === detail)
}

/**
 * The words that a cardholder's name begins with: `FUND`, or `APRO FUND` for a card that is good once.
 * A name that begins with none is approved.
 */
export function readWords(holder: string): string[] {
  const parts = holder.trim().split(/\s+/)
  const end = parts.findIndex((part) => findVerdict(part) === undefined)
  const known = end === -1 ? parts : parts.slice(0, end)
  return known.length === 0 ? ['APRO'] : known
}

/** What a customer can be refused for on a hosted page. */
export const declineReasons = [
  'FUND',
  'OTHE',
  'CALL',
  'SECU',
  'EXPI',
  'FORM',
  'CARD',
  'INST',
  'DUPL',
  'LOCK',
  'CTNA',
  'ATTE',
  'BLAC',
  'cc_rejected_high_risk',
]
