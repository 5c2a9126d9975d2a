import { z } from 'zod'

/**
 * A field of a vendor's answer that we can do without: absent when it is missing, null or of another
 * kind than documented, so that an odd detail never costs the whole answer.
 */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullish().catch(undefined)
}

/** `schema.transform(convert)`, which would keep what it read: decision 45. */
function converted<Given, Converted>(
  schema: z.ZodType<Given>,
  convert: (value: Given) => Converted,
): z.ZodType<Converted> {
  return schema.overwrite(convert as unknown as (value: Given) => Given) as unknown as z.ZodType<Converted>
}

export const optionalText = optional(z.string())
export const optionalNumber = optional(z.number())

/** A number that some answers write as a text. */
export const figure = z.union([z.number(), converted(z.string().regex(/^-?\d+(\.\d+)?$/), Number)])
export const optionalFigure = optional(figure)

/** An id that some answers write as a number. */
export const idText = converted(z.union([z.string().min(1), z.number()]), String)
export const optionalId = optional(idText)

/** A time as people and ISO 8601 write it. */
export const optionalTime = converted(optionalText, readTime)

/** An answer that needs no reading: that it came is enough. */
export const anything = z.unknown().transform(() => ({}))

function readTime(text: string | null | undefined): Date | undefined {
  const time = new Date(text ?? '')
  return Number.isNaN(time.getTime()) ? undefined : time
}

export function optionalObject<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return optional(z.looseObject(shape))
}

/** The same schema for each of these fields, so that a long answer is described in a few lines. */
export function fieldsOf<Schema extends z.ZodType, const Name extends string>(
  schema: Schema,
  ...names: readonly Name[]
): Record<Name, Schema> {
  return Object.fromEntries(names.map((name) => [name, schema])) as Record<Name, Schema>
}
