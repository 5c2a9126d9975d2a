import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { NameLookup } from '../name-lookup.ts'
import {
  createOutbound,
  OutboundError,
  type Outbound,
  type OutboundOptions,
  type OutboundRequest,
} from '../outbound.ts'

/** An Outbound that may call loopback, and is closed with the test. */
export function openOutbound(t: TestContext, options: Partial<OutboundOptions> = {}): Outbound {
  const outbound = createOutbound({ allowPrivateAddresses: true, ...options })
  t.after(() => outbound.close())
  return outbound
}

/** The error of a call that must fail. */
export async function failCall(outbound: Outbound, request: OutboundRequest): Promise<OutboundError> {
  const error: unknown = await outbound.request(request).then(
    (answer) => assert.fail(`answered ${answer.status}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof OutboundError, String(error))
  return error
}

export function resolving(resolve: NameLookup['resolve']): { names: NameLookup } {
  return { names: { resolve, cancel() {} } }
}

/** Every name is this machine. */
export const toLoopback = resolving(async () => ['127.0.0.1'])
