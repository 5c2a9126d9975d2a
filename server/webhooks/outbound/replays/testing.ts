import assert from 'node:assert/strict'
import type { Context } from '#core/context.ts'
import type { TestAnswer, TestApi } from '../../../testing/api.ts'
import { recordFacts, until } from '../testing.ts'
import type { Replay } from './schema.ts'

/** Facts of a module: `count` of a type, of tenants named like their product. */
export async function happen(
  context: Context,
  type: string,
  count = 1,
  { tenant = 'tenant_a' } = {},
): Promise<void> {
  const scope = { tenantId: tenant, productId: 'product_a', traceId: '0c619ce35afe31c3fb0757fc8e8f06b3' }
  const events = Array.from({ length: count }, (_, place) => ({
    type,
    entity: `thing_${place}`,
    data: { place },
  }))
  await recordFacts(context, scope, events)
}

export async function untilReplay(
  api: TestApi,
  id: string,
  fits: (replay: Replay) => boolean,
): Promise<Replay> {
  let seen: TestAnswer<Replay> | undefined
  await until(
    async () => {
      seen = await api.call<Replay>('GET', `/webhooks/replays/${id}`)
      return fits(seen.body)
    },
    () => seen?.body,
  )
  assert.ok(seen)
  return seen.body
}
