import { z } from 'zod'
import { listCallbacks, listCallbacksOf } from './callbacks.ts'
import { sameAddress } from './faults.ts'
import { replyJson } from './http.ts'
import type { Reply } from './http.ts'
import type { Message, World } from './world.ts'

/** How many are wanted; 100 when nothing is said. */
export function limitOf(query: URLSearchParams): number {
  return z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .parse(query.get('limit') ?? 100)
}

/** Oldest first, the latest of what matches. `coming` counts what is still to happen by itself, and may make more of them. */
export function answerCallbacks(world: World, query: URLSearchParams): Reply {
  const wanted = listCallbacks(world.callbacks).filter(
    (callback) =>
      (!query.has('state') || callback.state === query.get('state')) &&
      (!query.has('provider') || callback.provider === query.get('provider')),
  )
  return replyJson(200, {
    total: wanted.length,
    coming: world.countComing(),
    callbacks: wanted.slice(-limitOf(query)),
  })
}

/** Newest last. `effects` counts the calls that took effect per correlation id, over everything that matches. */
export function listMessages(world: World, query: URLSearchParams): Reply {
  const wanted = [...world.messages.values()].filter((message) => matchesQuery(message, query))
  const messages = wanted.slice(-limitOf(query)).map((message) => ({
    ...message,
    callbacks: listCallbacksOf(world.callbacks, message.id).map(({ id, events, state, attempts }) => ({
      id,
      events,
      state,
      attempts,
    })),
  }))
  return replyJson(200, { total: wanted.length, effects: countEffects(wanted), messages })
}

function matchesQuery(message: Message, query: URLSearchParams): boolean {
  const to = query.get('to')
  const has = (name: 'provider' | 'account' | 'channel' | 'direction' | 'reference' | 'state') =>
    !query.has(name) || message[name] === query.get(name)
  const fields = ['provider', 'account', 'channel', 'direction', 'reference', 'state'] as const
  return fields.every(has) && (to === null || sameAddress(to, message.to))
}

function countEffects(messages: Message[]): Record<string, number> {
  const made = new Map<string, Set<string>>()
  for (const { reference, effect_id: effectId } of messages) {
    if (reference !== null) made.set(reference, (made.get(reference) ?? new Set()).add(effectId))
  }
  return Object.fromEntries([...made].map(([reference, effects]) => [reference, effects.size]))
}
