import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import type { TestApi } from '../../testing/api.ts'
import { type NewEvent, recordEvents } from './events.ts'
import type { EndpointWithSecret } from './schema.ts'

export async function postEndpoint<Made = EndpointWithSecret>(api: TestApi, input: object): Promise<Made> {
  const { status, body } = await api.call<Made>('POST', '/webhooks/endpoints', input)
  assert.equal(status, 201, JSON.stringify(body))
  return body
}

/** Default: it occurred now. */
export type Fact = Omit<NewEvent, 'occurredAt'> & { occurredAt?: Date }

/** Facts of a tenant, recorded together as modules do. */
export async function recordFacts(
  { database, now }: Context,
  scope: TenantScope,
  facts: readonly Fact[],
): Promise<void> {
  const events = facts.map((fact) => ({ occurredAt: now(), ...fact }))
  await database.asTenant(scope, (db) => recordEvents(db, scope, events, now()))
  wakeWork('delivery')
}

/** Waits for a state of the world; rejects after the deadline with what it was waited for. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => unknown) = String(holds),
): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await holds())) {
    if (performance.now() > deadline)
      assert.fail(`not in time: ${typeof what === 'string' ? what : JSON.stringify(what())}`)
    await sleep(10)
  }
}
