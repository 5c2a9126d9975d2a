import type { ProviderId, World } from './world.ts'

/** Whether this account is still under its rate for the running second; counts the call. */
export function takeRate(world: World, provider: ProviderId, account: string): boolean {
  const limit = world.settings.rate_limits[provider]
  if (limit === undefined) return true
  const second = Math.floor(Date.now() / 1_000)
  const key = `${provider} ${account}`
  const counted = world.rates.get(key)
  const count = counted?.second === second ? counted.count + 1 : 1
  world.rates.set(key, { second, count })
  return count <= limit
}
