import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { FieldError } from '#core/errors.ts'
import { compilePattern, inspectSchema } from './schema-limits.ts'

export type JsonObject = Record<string, unknown>

export interface CompiledSchema {
  size: number
  validate: ValidateFunction
}

/** Names what is wrong with a schema; empty when events can be checked against it. */
export function findSchemaFaults(schema: JsonObject): FieldError[] {
  const { faults } = inspectSchema(schema)
  if (faults.length > 0) return faults
  draft ??= createAjv({ meta: true })
  if (draft.validateSchema(schema) !== true) {
    return (draft.errors ?? []).map((error) => toFieldError(error, 'schema'))
  }
  try {
    compileSchema(schema)
    return []
  } catch (error) {
    return [{ field: 'schema', message: `can not be used: ${error instanceof Error ? error.message : ''}` }]
  }
}

let draft: Ajv2020 | undefined

/** Each in an instance of its own: one product's `$id` is nothing that another's `$ref` could find. */
export function compileSchema(schema: JsonObject): CompiledSchema {
  return {
    size: inspectSchema(schema).size,
    validate: createAjv({ meta: false, validateSchema: false }).compile(schema),
  }
}

function createAjv(options: { meta: boolean; validateSchema?: boolean }): Ajv2020 {
  const ajv = new Ajv2020({
    ...options,
    allErrors: true,
    strict: false,
    logger: false,
    code: { regExp: Object.assign(linearPattern, { code: 'linearPattern' }) },
  })
  ajvFormats.default(ajv)
  // The one that comes with it compares every item with every other.
  ajv.removeKeyword('uniqueItems')
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: (wanted: boolean, items: unknown[]) => !wanted || areUnique(items),
    error: { message: 'must not hold the same twice' },
  })
  return ajv
}

function areUnique(items: readonly unknown[]): boolean {
  return new Set(items.map((item) => JSON.stringify(item, sortKeys))).size === items.length
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1)))
}

const maxMatchedCharacters = 200_000
let matchedCharacters = 0

function linearPattern(source: string): { test(text: string): boolean } {
  const pattern = compilePattern(source)
  return {
    test: (text) => {
      matchedCharacters += text.length
      return matchedCharacters <= maxMatchedCharacters && pattern.matcher(text).find()
    },
  }
}

const maxSteps = 5_000_000

/** What all checks of one request may cost together. */
export interface CheckBudget {
  steps: number
  characters: number
}

export function createCheckBudget(): CheckBudget {
  return { steps: maxSteps, characters: maxMatchedCharacters }
}

/** Every fault of the data, with fields under `field`. Costs what is left of the budget at most. */
export function checkData(
  { size, validate }: CompiledSchema,
  data: JsonObject,
  field: string,
  budget: CheckBudget,
): FieldError[] {
  budget.steps -= size * countValues(data)
  if (budget.steps < 0) return [tooMuch(field)]
  matchedCharacters = maxMatchedCharacters - budget.characters
  const fits = validate(data)
  budget.characters = maxMatchedCharacters - matchedCharacters
  if (budget.characters < 0) return [tooMuch(field)]
  return fits ? [] : (validate.errors ?? []).map((error) => toFieldError(error, field))
}

function tooMuch(field: string): FieldError {
  return { field, message: 'is too much to check in one request: send smaller events or fewer of them' }
}

function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1
  let count = 1
  // Without the list that `Object.values` makes of each, which is most of such a walk.
  if (Array.isArray(value)) for (const item of value) count += countValues(item)
  else for (const key in value) count += countValues((value as JsonObject)[key])
  return count
}

function toFieldError(error: ErrorObject, root: string): FieldError {
  const steps = error.instancePath.split('/').slice(1)
  const { missingProperty, additionalProperty, unevaluatedProperty, allowedValues } = error.params
  const unknown = additionalProperty ?? unevaluatedProperty
  const last = missingProperty ?? unknown
  const path = steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  const field = [root, ...path, ...(last === undefined ? [] : [String(last)])].join('.')
  if (missingProperty !== undefined && error.keyword === 'required') return { field, message: 'is missing' }
  if (unknown !== undefined) return { field, message: 'is not a field here' }
  if (Array.isArray(allowedValues)) {
    return { field, message: `must be one of ${JSON.stringify(allowedValues).slice(0, 200)}` }
  }
  return { field, message: error.message ?? 'is invalid' }
}
