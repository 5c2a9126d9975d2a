import type { EventType } from '#core/module.ts'
import type { WholeEvent } from '../queries.ts'

/** What shapes are chosen from. */
export type Shapes = Pick<WholeEvent, 'type' | 'version' | 'body' | 'older'>

/**
 * The event in the version that an endpoint pins; undefined when it has no such shape. The same at every attempt.
 * Nothing is read of the body unless another version than the published one is pinned.
 */
export function shapeFor<Event extends Shapes>(
  pins: Readonly<Record<string, number>>,
  event: Event,
  types: readonly EventType[],
): Event | undefined {
  const pinned = pins[event.type]
  if (pinned === undefined || pinned === event.version) return event
  if (event.older === null) return shapeOfOurs(pinned, event, types)
  const body = (JSON.parse(event.older) as Record<string, string>)[pinned]
  return body === undefined ? undefined : { ...event, version: pinned, body }
}

/** @throws when this process runs without the module whose event it is: another one may know it */
function shapeOfOurs<Event extends Shapes>(
  pinned: number,
  event: Event,
  types: readonly EventType[],
): Event | undefined {
  const type = types.find(({ name }) => name === event.type)
  if (type === undefined) throw new Error(`${event.type} is no event of the modules of this process.`)
  const versions = versionsOf(type)
  // A release that drops a version leaves nobody without events.
  if (!versions.includes(pinned)) return event
  const from = versions.indexOf(event.version)
  const to = versions.indexOf(pinned)
  if (from === -1 || to < from) return undefined
  let body = JSON.parse(event.body) as Record<string, unknown>
  for (const step of (type.older ?? []).slice(from, to)) body = step.from(body)
  return { ...event, version: pinned, body: JSON.stringify(body) }
}

/** The newest first. */
export function versionsOf({ version, older = [] }: EventType): number[] {
  return [version, ...older.map((shape) => shape.version)]
}

/** Why an event can't be sent to an endpoint that pins its type. */
export function explainNoShape({ type, version }: Shapes, pins: Readonly<Record<string, number>>): string {
  return `The endpoint pins version ${pins[type]} of ${type}; this event was published under version ${version} without that shape. Drop the pin and replay it.`
}
