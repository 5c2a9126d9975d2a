import type { Sandbox } from '../harness.ts'
import type { Random } from '../kill/random.ts'
import { type ProviderId, providerIds } from './plan.ts'

/** Faults that come and go while payments are made. */
export interface Weather {
  /** How often each fault was played so far, by provider. */
  played: Record<ProviderId, Map<string, number>>
  /** The next weather, decided by the seed. */
  change(): Promise<void>
  clear(): Promise<void>
}

interface Rule {
  provider: ProviderId
  fault: string
  operation?: string
  chance: number
  after_ms?: number
}

const beforeEffect = ['hang', 'reset', 'server_error', 'transient', 'rate_limited'] as const
const afterEffect = ['hang_after', 'reset_after', 'server_error_after', 'odd_status'] as const
const webhookFaults = [
  'webhook_dropped',
  'webhook_duplicate',
  'webhook_reordered',
  'webhook_late',
  'webhook_early',
] as const
const operations = ['create', 'checkout', 'commit', 'capture', 'cancel', 'refund'] as const
/** Rules count down from here: what is missing was played. */
const plenty = 1_000_000

export function createWeather(sandbox: Sandbox, random: Random, providers: readonly ProviderId[]): Weather {
  const played = Object.fromEntries(
    providerIds.map((id) => [id, new Map<string, number>()]),
  ) as Weather['played']
  const clear = async () => {
    const { rules } = await sandbox.control<{ rules: Array<Rule & { times: number | null }> }>(
      'GET',
      '/payment-faults',
    )
    await sandbox.control('DELETE', '/payment-faults')
    for (const { provider, fault, times } of rules) {
      const counts = played[provider]
      counts.set(fault, (counts.get(fault) ?? 0) + plenty - (times ?? plenty))
    }
  }
  return {
    played,
    clear,
    change: async () => {
      await clear()
      for (const provider of providers) {
        for (const rule of forecast(random, provider)) {
          await sandbox.control('POST', '/payment-faults', { times: plenty, ...rule })
        }
      }
    },
  }
}

/** Fair, a bit of everything, or one kind of fault that strikes one call in two. */
function forecast(random: Random, provider: ProviderId): Rule[] {
  const kind = random.next()
  if (kind < 0.1) return []
  const slow: Rule = { provider, fault: 'slow', chance: 0.1, after_ms: Math.floor(random.between(50, 400)) }
  if (kind < 0.6) {
    const rulesFor = (faults: readonly string[], least: number, most: number) =>
      faults.map((fault) => ({ provider, fault, chance: random.between(least, most) }))
    return [
      ...rulesFor(afterEffect, 0.03, 0.1),
      ...rulesFor(beforeEffect, 0.01, 0.05),
      ...rulesFor(webhookFaults, 0.03, 0.08),
      // A customer who came back to wrong credentials has not paid.
      {
        provider,
        fault: 'unauthorized',
        operation: random.pick(['create', 'capture', 'refund']),
        chance: 0.05,
      },
      ...listReadFaults(random, provider, 0.04),
      slow,
    ]
  }
  const struck = random.pick([...operations, 'refund', 'create', undefined])
  const storm = [random.pick(beforeEffect), random.pick(afterEffect), random.pick(webhookFaults)]
  return [
    ...storm.map((fault) => ({ provider, fault, chance: 0.25, ...(struck && { operation: struck }) })),
    ...listReadFaults(random, provider, 0.15),
    slow,
  ]
}

function listReadFaults(random: Random, provider: ProviderId, chance: number): Rule[] {
  return [random.pick(beforeEffect), 'odd_status'].map((fault) => ({
    provider,
    fault,
    operation: 'read',
    chance,
  }))
}
