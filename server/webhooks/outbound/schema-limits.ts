import { RE2JS } from 're2js'
import type { FieldError } from '#core/errors.ts'

const maxSchemaBytes = 32 * 1024
const maxDepth = 40
const maxValues = 2_000
const maxPatternLength = 200

type JsonObject = Readonly<Record<string, unknown>>

export interface SchemaReport {
  faults: FieldError[]
  /** Values in the schema with every `$ref` unfolded: how much there is to check at most. */
  size: number
}

/**
 * What keeps a schema from costing more than it looks: every reference is followed, none may lead outside or back
 * to itself, and patterns must be such as RE2 can match in linear time. Reads every value, keyword or not.
 */
export function inspectSchema(schema: JsonObject): SchemaReport {
  if (Buffer.byteLength(JSON.stringify(schema)) > maxSchemaBytes) {
    return { faults: [{ field: 'schema', message: `is larger than ${maxSchemaBytes / 1024} KiB` }], size: 0 }
  }
  const inspection: Inspection = { root: schema, faults: [], sizes: new Map(), open: new Set() }
  const { values, depth } = measure(inspection, schema, 'schema')
  if (depth > maxDepth) addFault(inspection, 'schema', `is nested more than ${maxDepth} deep`)
  if (values > maxValues) {
    addFault(inspection, 'schema', `has more than ${maxValues} values, counted again at every $ref`)
  }
  return { faults: inspection.faults, size: values }
}

interface Size {
  values: number
  depth: number
}

interface Inspection {
  root: JsonObject
  faults: FieldError[]
  /** Of what references point to. */
  sizes: Map<string, Size>
  open: Set<string>
}

function measure(inspection: Inspection, value: unknown, field: string): Size {
  if (typeof value !== 'object' || value === null) return { values: 1, depth: 0 }
  const size: Size = { values: 1, depth: 0 }
  for (const [key, item] of Object.entries(value)) {
    const place = `${field}.${key}`
    checkKeyword(inspection, key, item, place)
    add(size, measure(inspection, item, place))
    if (key === '$ref' && typeof item === 'string') add(size, measureTarget(inspection, item, place))
  }
  return size
}

function add(size: Size, inner: Size): void {
  size.values += inner.values
  size.depth = Math.max(size.depth, inner.depth + 1)
}

const nothing: Size = { values: 0, depth: 0 }

function measureTarget(inspection: Inspection, reference: string, field: string): Size {
  const { open, sizes } = inspection
  const known = sizes.get(reference)
  if (known !== undefined) return known
  const target = findTarget(inspection.root, reference)
  const fault = open.has(reference)
    ? 'leads back to itself'
    : target === undefined
      ? 'points to nothing in this schema; only references like #/$defs/name are followed'
      : undefined
  if (fault !== undefined) {
    addFault(inspection, field, fault)
    return nothing
  }
  open.add(reference)
  const size = measure(inspection, target, `schema${reference.slice(1).replaceAll('/', '.')}`)
  open.delete(reference)
  sizes.set(reference, size)
  return size
}

/** No percent signs: what reads them differently would be led elsewhere. */
const plainReference = /^#(\/[\w$.~-]+)*$/

function findTarget(root: JsonObject, reference: string): unknown {
  if (!plainReference.test(reference)) return undefined
  let target: unknown = root
  for (const step of reference.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof target !== 'object' || target === null || !Object.hasOwn(target, key)) return undefined
    target = (target as JsonObject)[key]
  }
  return target
}

const draft = /^https?:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/
const refusedKeywords = ['$async', '$dynamicRef', '$dynamicAnchor', '$anchor', '$recursiveRef']

function checkKeyword(inspection: Inspection, key: string, value: unknown, field: string): void {
  if (refusedKeywords.includes(key)) addFault(inspection, field, 'is not followed here')
  if (typeof value === 'string') {
    if (key === '$schema' && !draft.test(value)) addFault(inspection, field, 'must be draft 2020-12')
    if (key === '$id' && field !== 'schema.$id') addFault(inspection, field, 'may stand at the top only')
    if (key === 'pattern') checkPattern(inspection, value, field)
  }
  if (key === 'patternProperties' && typeof value === 'object' && value !== null) {
    for (const pattern of Object.keys(value)) checkPattern(inspection, pattern, field)
  }
}

function checkPattern(inspection: Inspection, pattern: string, field: string): void {
  if (pattern.length > maxPatternLength) {
    addFault(inspection, field, `is a pattern of more than ${maxPatternLength} characters`)
    return
  }
  try {
    compilePattern(pattern)
  } catch {
    addFault(inspection, field, 'is no pattern that RE2 takes: no back references, no looking around')
  }
}

export function compilePattern(pattern: string): RE2JS {
  return RE2JS.compile(RE2JS.translateRegExp(pattern))
}

function addFault({ faults }: Inspection, field: string, message: string): void {
  if (!faults.some((fault) => fault.field === field && fault.message === message))
    faults.push({ field, message })
}
