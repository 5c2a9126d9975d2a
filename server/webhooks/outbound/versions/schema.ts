import { z } from 'zod'

export const typeName = z
  .string()
  .max(100)
  .regex(/^[a-z][a-z_]*\.[a-z][a-z_]*$/, 'must be a noun and what happened to it, such as order.paid')
export const version = z.number().int().min(1).max(1_000_000)

export const mostPins = 100
const pinsDescription =
  'Versions of event types that this endpoint is sent, such as {"order.paid": 1}; of other types as published.'

export const Pins = z
  .record(typeName, version)
  .refine((pins) => Object.keys(pins).length <= mostPins, { message: `name at most ${mostPins} types` })
  .meta({ description: pinsDescription })
export type Pins = z.infer<typeof Pins>

export const PinChange = z
  .record(typeName, version.nullable())
  .refine((pins) => Object.keys(pins).length <= mostPins, { message: `name at most ${mostPins} types` })
  .meta({ description: `${pinsDescription} Types that are not named stay as they are; null removes one.` })
export type PinChange = z.infer<typeof PinChange>

const versionKey = z.string().regex(/^[1-9]\d{0,5}$/, 'must be a version, such as "1"')
export const mostOlder = 20

/** Of an event that is published: its data in the shape of older versions. */
export function olderShapes<Data extends z.ZodType>(data: Data) {
  return z
    .record(versionKey, data)
    .refine((shapes) => Object.keys(shapes).length <= mostOlder, {
      message: `give at most ${mostOlder} versions`,
    })
    .meta({
      description:
        '`data` in the shape of older versions, for endpoints that pin one: {"1": {…}}. Needed for each that is `supported`.',
    })
}
