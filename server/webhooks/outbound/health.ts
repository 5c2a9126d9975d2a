import type { SeriesChange } from '#jobs'
import type { EndpointRow, HealthRow } from './queries.ts'

const second = 1000
const minute = 60 * second
const hour = 60 * minute

/** Failures in a row after which an endpoint is left alone for a while. */
const opensAfter = 5
/** Pauses before one event tries it again; the last one repeats. */
const pausesMs = [30 * second, minute, 2 * minute, 5 * minute, 15 * minute, 30 * minute, hour]
/** What waited is sent no faster, so that who just got up is not knocked over. */
const catchUpPerSecond = 50
const longestCatchUpMs = hour
/** At which shares of the time until it is disabled its owner is told. */
const alertsAt = [50, 70, 90, 100]

/** One attempt that is over, as far as the endpoint's health goes. */
export interface Sighting {
  failed: boolean
  error: string | null
  /** When the event was recorded: those after a recovery show that the backlog is gone. */
  recordedAt: Date
}

export interface HealthStep {
  health: HealthRow
  series?: SeriesChange
  /** `endpoint.failing`, `endpoint.disabled`, `endpoint.recovered`. */
  events: Array<{ type: string; percent?: number }>
  disabledReason?: string
}

export function firstHealth(endpointId: string, now: Date): HealthRow {
  return {
    endpoint_id: endpointId,
    state: 'healthy',
    failures: 0,
    failing_since: null,
    openings: 0,
    paused_until: null,
    recovered_at: null,
    alerted: 0,
    last_error: null,
    updated_at: now,
  }
}

/** What an attempt makes of an endpoint's health: pure, so that the order of attempts is all that counts. */
export function stepHealth(
  endpoint: Limited,
  health: HealthRow,
  seen: Sighting,
  { now, disabledAfterMs }: { now: Date; disabledAfterMs: number },
): HealthStep {
  const next = { ...health, updated_at: now }
  return seen.failed ? stepFailure(next, seen, now, disabledAfterMs) : stepSuccess(endpoint, next, seen, now)
}

function stepFailure(health: HealthRow, { error }: Sighting, now: Date, disabledAfterMs: number): HealthStep {
  const failing = {
    ...health,
    failures: health.failures + 1,
    failing_since: health.failing_since ?? now,
    last_error: error,
    state: health.state === 'open' ? health.state : ('failing' as const),
  }
  const percent = percentOf(failing.failing_since, now, disabledAfterMs)
  const alert = alertsAt.findLast((one) => one <= percent) ?? 0
  const told = alert > failing.alerted ? [{ type: 'endpoint.failing', percent: alert }] : []
  const alerted = { ...failing, alerted: Math.max(failing.alerted, alert) }
  if (percent >= 100) {
    const days = Math.round(disabledAfterMs / (24 * hour))
    const disabledReason = `It failed for ${days} days; the last time: ${error ?? 'no answer'}`
    return { health: alerted, events: [...told, { type: 'endpoint.disabled' }], disabledReason }
  }
  // What was under way when it was paused says nothing new.
  const isPaused = alerted.paused_until !== null && alerted.paused_until > now
  if (alerted.failures < opensAfter || isPaused) return { health: alerted, events: told }
  const pausedUntil = new Date(
    now.getTime() + (pausesMs[Math.min(alerted.openings, pausesMs.length - 1)] ?? 0),
  )
  return {
    health: { ...alerted, state: 'open', openings: alerted.openings + 1, paused_until: pausedUntil },
    // After the pause one event goes first.
    series: { pausedUntil, mostRunning: 1 },
    events: told,
  }
}

function stepSuccess(endpoint: Limited, health: HealthRow, seen: Sighting, now: Date): HealthStep {
  const well = {
    ...health,
    failures: 0,
    failing_since: null,
    paused_until: null,
    alerted: 0,
    last_error: null,
  }
  const told = health.alerted > 0 || health.state === 'open' ? [{ type: 'endpoint.recovered' }] : []
  if (health.state === 'open') {
    return {
      health: { ...well, state: 'catching_up', recovered_at: now },
      series: { pausedUntil: null, ...catchUpLimitsOf(endpoint) },
      events: told,
    }
  }
  const caughtUp =
    health.recovered_at === null ||
    seen.recordedAt >= health.recovered_at ||
    now.getTime() - health.recovered_at.getTime() > longestCatchUpMs
  if (health.state === 'catching_up' && !caughtUp) return { health: well, events: told }
  const wasLimited = health.recovered_at !== null
  return {
    health: { ...well, state: 'healthy', recovered_at: null, openings: 0 },
    ...(wasLimited && { series: limitsOf(endpoint) }),
    events: told,
  }
}

function percentOf(since: Date, now: Date, disabledAfterMs: number): number {
  return Math.floor(((now.getTime() - since.getTime()) / disabledAfterMs) * 100)
}

type Limited = Pick<EndpointRow, 'max_in_flight' | 'max_per_second'>

/** Limits as an endpoint has them when nothing is wrong with it. */
export function limitsOf(endpoint: Limited): SeriesChange {
  return { mostRunning: endpoint.max_in_flight, perSecond: endpoint.max_per_second }
}

/** Limits while what waited is sent. */
export function catchUpLimitsOf(endpoint: Limited): SeriesChange {
  const perSecond = Math.min(catchUpPerSecond, endpoint.max_per_second ?? Infinity)
  return { mostRunning: endpoint.max_in_flight, perSecond }
}
