import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '#core/context.ts'
import { wakeWork } from '#jobs'
import type { TestAnswer, TestApi } from '../../../testing/api.ts'
import { recordEvents } from '../events.ts'
import type { Replay } from './schema.ts'

/** Facts of a module: `count` of a type, of tenants named like their product. */
export async function happen(
  { database, now }: Context,
  type: string,
  count = 1,
  { tenant = 'tenant_a', daysAgo = 0 } = {},
): Promise<void> {
  const scope = { tenantId: tenant, productId: 'product_a', traceId: '0c619ce35afe31c3fb0757fc8e8f06b3' }
  const occurredAt = new Date(now().getTime() - daysAgo * 86_400_000)
  const events = Array.from({ length: count }, (_, place) => ({
    type,
    entity: `thing_${place}`,
    occurredAt,
    data: { place },
  }))
  await database.asTenant(scope, (db) => recordEvents(db, scope, events, now()))
  wakeWork('delivery')
}

export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, what)
    await sleep(20)
  }
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
    `the replay did not come so far: ${JSON.stringify(seen?.body)}`,
  )
  assert.ok(seen)
  return seen.body
}
