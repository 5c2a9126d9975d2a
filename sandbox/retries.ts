import type { PaymentProviderId } from './payments/simulator.ts'
import type { ProviderId, Settings } from './world.ts'

type AnyProviderId = ProviderId | PaymentProviderId

type Failed = {
  url: string
  attempts: number
  ageMs: number
  /** Null when the receiver gave no HTTP answer. */
  status: number | null
  /** Error code of the connection, such as `ECONNREFUSED`. */
  failure: string
  settings: Settings
}

const HOUR_SECONDS = 3_600
const SHORTEST_MS = 40
const LONGEST_PATIENT_GAP_MS = 3_000

/**
 * How long until the provider tries a callback again, or null when it gives up. With patience the
 * gaps stay short and nothing is given up early, so a receiver that was down misses nothing.
 */
export function nextRetryMs(provider: AnyProviderId, failed: Failed): number | null {
  const { patience_ms: patienceMs, retry_factor: factor } = failed.settings
  const seconds = nextRealGapSeconds(provider, failed)
  if (patienceMs === 0) return seconds === null ? null : Math.max(SHORTEST_MS, (seconds * 1_000) / factor)
  if (seconds === null && (failed.ageMs > patienceMs || isFinal(provider, failed))) return null
  const gapMs = ((seconds ?? Number.POSITIVE_INFINITY) * 1_000) / factor
  const spread = 0.8 + Math.random() * 0.4
  return Math.max(SHORTEST_MS, Math.min(gapMs, LONGEST_PATIENT_GAP_MS) * spread)
}

function nextRealGapSeconds(provider: AnyProviderId, failed: Failed): number | null {
  if (provider === 'twilio') return twilioRetries(failed) ? 60 * 2 ** failed.attempts : null
  const fixed = FIXED_GAPS_SECONDS[provider]
  if (fixed) return fixed[failed.attempts - 1] ?? null
  const gap = Math.min(60 * 2 ** (failed.attempts - 1), 4 * HOUR_SECONDS)
  const limitSeconds = provider === 'meta' ? 7 * 24 * HOUR_SECONDS : 24 * HOUR_SECONDS
  const spentSeconds = (failed.ageMs / 1_000) * failed.settings.retry_factor
  return spentSeconds + gap > limitSeconds ? null : gap
}

const FIXED_GAPS_SECONDS: Partial<Record<AnyProviderId, readonly number[]>> = {
  resend: [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000],
  stripe: [60, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 86_400, 86_400],
  mercadopago: [900, 900, 900, 1_800, 3_600, 21_600, 86_400],
}

/** `#rc=3&rp=ct,rt,5xx` of the callback URL; by default one retry, only when no connection came about. */
function twilioRetries(failed: Failed): boolean {
  const override = new URLSearchParams(failed.url.split('#')[1] ?? '')
  const count = Number(override.get('rc') ?? 1)
  const policies = (override.get('rp') ?? 'ct').split(',')
  if (failed.attempts > count) return false
  return policies.some((policy) => matchesPolicy(policy, failed))
}

function matchesPolicy(policy: string, { status, failure }: Failed): boolean {
  if (policy === 'all') return true
  if (policy === '5xx') return status !== null && status >= 500
  if (policy === '4xx') return status !== null && status >= 400 && status < 500
  const isConnect = failure === 'ECONNREFUSED' || failure === 'UND_ERR_CONNECT_TIMEOUT'
  if (policy === 'ct') return status === null && isConnect
  return policy === 'rt' && status === null && !isConnect
}

/** Twilio takes a 4xx as the receiver's last word. */
function isFinal(provider: AnyProviderId, { status }: Failed): boolean {
  return provider === 'twilio' && status !== null && status >= 400 && status < 500 && status !== 429
}
