/** A match on an event's body, as an endpoint has it: see docs/guides/receiving-events.md. Faultless where it is compiled. */
export type BodyFilter = Readonly<Record<string, unknown>>

/** One condition of a filter, and whether a body fulfils it as a jsonpath. */
export interface Condition {
  /** Where in the body, such as `customer.country`. */
  field: string
  /** As it stands in the filter. */
  expected: unknown
  path: string
  /** Conditions of an object within. */
  parts: Condition[]
}

/** Truth of these is about one value; of the others about all values of a field. */
const comparisons: Readonly<Record<string, string>> = { $gt: '>', $gte: '>=', $lt: '<', $lte: '<=' }

export const fieldOperators = ['$eq', '$in', '$ne', '$nin', '$exists', '$prefix', ...Object.keys(comparisons)]

/** An object within the body, rather than operators on a field. */
export function isNested(expected: unknown): expected is BodyFilter {
  if (typeof expected !== 'object' || expected === null || Array.isArray(expected)) return false
  return !Object.keys(expected).some((key) => fieldOperators.includes(key))
}

/**
 * One jsonpath predicate for all of a filter. Every test is an `exists` over values of a checked type: so it is true
 * or false, never unknown, and may be negated.
 */
export function compileFilter(filter: BodyFilter): string {
  return fromBody(allOf(filter))
}

/** The conditions of a filter one by one, to say which of them fails. */
export function conditionsOf(
  filter: BodyFilter,
  field = '',
  wrap: (predicate: string) => string = fromBody,
): Condition[] {
  return Object.entries(filter).map(([key, expected]) => {
    const name = field === '' ? key : `${field}.${key}`
    const isObject = !key.startsWith('$') && isNested(expected)
    return {
      field: name,
      expected,
      path: wrap(testOf(key, expected)),
      parts: isObject ? conditionsOf(expected, name, (predicate) => wrap(within(key, predicate))) : [],
    }
  })
}

function fromBody(predicate: string): string {
  return `exists($ ? (${predicate}))`
}

function allOf(filter: BodyFilter): string {
  return Object.entries(filter)
    .map(([key, expected]) => testOf(key, expected))
    .join(' && ')
}

function testOf(key: string, expected: unknown): string {
  if (key === '$or') return anyOf((expected as BodyFilter[]).map(allOf))
  if (key === '$not') return `!(${allOf(expected as BodyFilter)})`
  return isNested(expected) ? within(key, allOf(expected)) : testValue(key, operatorsOf(expected))
}

function within(key: string, predicate: string): string {
  return some(key, `@.type() == "object" && ${predicate}`)
}

/** The field, or one element of its list, fulfils it: jsonpath looks into a list by itself. */
function some(key: string, predicate: string): string {
  return `exists(@.${JSON.stringify(key)} ? (${predicate}))`
}

function anyOf(predicates: readonly string[]): string {
  return `(${predicates.map((one) => `(${one})`).join(' || ')})`
}

function operatorsOf(expected: unknown): BodyFilter {
  if (Array.isArray(expected)) return { $in: expected as unknown }
  return typeof expected === 'object' && expected !== null ? (expected as BodyFilter) : { $eq: expected }
}

function testValue(key: string, operators: BodyFilter): string {
  const { $exists: exists, $ne: other, $nin: others, ...rest } = operators
  const tests: string[] = []
  const wanted = Object.entries(rest).map(([operator, operand]) => testOne(operator, operand))
  if (wanted.length > 0) tests.push(some(key, wanted.join(' && ')))
  if (other !== undefined) tests.push(`!${some(key, equals(other))}`)
  if (others !== undefined) tests.push(`!${some(key, oneOf(others))}`)
  if (exists !== undefined) tests.push(`${exists === true ? '' : '!'}exists(@.${JSON.stringify(key)})`)
  return tests.join(' && ')
}

function testOne(operator: string, operand: unknown): string {
  if (operator === '$eq') return equals(operand)
  if (operator === '$in') return oneOf(operand)
  if (operator === '$prefix') return typed(operand, `@ starts with ${JSON.stringify(operand)}`)
  return typed(operand, `@ ${comparisons[operator]} ${JSON.stringify(operand)}`)
}

function oneOf(values: unknown): string {
  return anyOf((values as unknown[]).map(equals))
}

function equals(value: unknown): string {
  return value === null ? '@.type() == "null"' : typed(value, `@ == ${JSON.stringify(value)}`)
}

/** A number never equals a string; nor does jsonpath get to look into lists of lists. */
function typed(operand: unknown, predicate: string): string {
  return `@.type() == "${typeof operand}" && ${predicate}`
}
