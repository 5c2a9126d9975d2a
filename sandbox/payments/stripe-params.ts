import { z } from 'zod'
import { textOf } from '../http.ts'
import { StripeError } from './stripe-errors.ts'
import { writeName } from './stripe-form.ts'
import type { Form, FormValue } from './stripe-form.ts'

const EMPTY = 'parameter_invalid_empty'
const NOT_INTEGER = 'parameter_invalid_integer'

export const text = z.string().min(1, EMPTY)
/** May be sent empty, which takes the value away. */
export const optionalText = z
  .string()
  .transform((value) => (value === '' ? null : value))
  .optional()
export const integer = text.regex(/^-?\d{1,15}$/, NOT_INTEGER).transform(Number)
export const boolean = z.enum(['true', 'false']).transform((value) => value === 'true')
/** Accepted as Stripe does, and without any effect here. */
export const ignored = z.custom<FormValue>(() => true).optional()
export const texts = z.array(text)
export const range = z.union([
  integer.transform((value) => ({ gte: value, lte: value })),
  z.strictObject({
    gt: integer.optional(),
    gte: integer.optional(),
    lt: integer.optional(),
    lte: integer.optional(),
  }),
])

/** Sent empty, the whole or one key goes away. */
export const metadata = z
  .union([z.literal(''), z.record(z.string().max(40), z.string().max(500)), z.array(z.string())])
  .transform((value): Record<string, string> | null =>
    value === '' ? null : Object.fromEntries(Object.entries(value)),
  )
  .optional()

export type MetadataChange = z.infer<typeof metadata>

export function changeMetadata(
  known: Record<string, string>,
  change: MetadataChange,
): Record<string, string> {
  if (change === undefined) return known
  if (change === null) return {}
  return Object.fromEntries(Object.entries({ ...known, ...change }).filter(([, value]) => value !== ''))
}

/** The parameters as their schema has them; everything wrong with them in Stripe's words. */
export function readParams<Schema extends z.ZodType>(schema: Schema, form: Form): z.infer<Schema> {
  const parsed = schema.safeParse(form)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw describeIssue(issue!, form)
}

function describeIssue(issue: z.core.$ZodIssue, form: Form): StripeError {
  const param = writeName(issue.path)
  if (issue.code === 'unrecognized_keys') {
    const [name = ''] = issue.keys
    return unknownParam(writeName([...issue.path, name]))
  }
  const given = valueAt(form, issue.path)
  if (given === undefined) return refuse('parameter_missing', param, `Missing required param: ${param}.`)
  if (given === '' || issue.message === EMPTY) {
    const message = `You passed an empty string for '${param}'. We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset. You should remove '${param}' from your request or supply a non-empty value.`
    return refuse(EMPTY, param, message)
  }
  if (issue.message === NOT_INTEGER) return refuse(NOT_INTEGER, param, `Invalid integer: ${textOf(given)}`)
  if (issue.code === 'invalid_format' && issue.format === 'url')
    return refuse('url_invalid', param, 'Not a valid URL')
  if (issue.code === 'invalid_value') {
    const words = issue.values.map(String).join(', ')
    return refuse(undefined, param, `Invalid ${param}: must be one of ${words}`)
  }
  return refuse(undefined, param, `Invalid ${param}`)
}

export function unknownParam(param: string): StripeError {
  return refuse('parameter_unknown', param, `Received unknown parameter: ${param}`)
}

function refuse(code: string | undefined, param: string, message: string): StripeError {
  const body = { type: 'invalid_request_error' as const, message, ...(code ? { code } : {}), param }
  return new StripeError(400, body, { isValidation: true })
}

function valueAt(form: Form, path: readonly PropertyKey[]): FormValue | undefined {
  let value: FormValue | undefined = form
  for (const part of path) {
    if (typeof value !== 'object') return undefined
    value = (value as Record<PropertyKey, FormValue>)[part]
  }
  return value
}
