import { type BodyFilter, fieldOperators, isNested } from './body-filter.ts'

export interface FilterFault {
  path: PropertyKey[]
  message: string
}

const mostLevels = 6
/** Each value of a list is one: the path tests every value of a body's list against every one of them. */
const mostConditions = 100
const mostValues = 100
const longestText = 500
const mostBytes = 16 * 1024
const notAnOperator = `is no operator; there are ${fieldOperators.join(', ')} of a field, $or and $not of an object`

interface Check {
  faults: FilterFault[]
  conditions: number
}

/** Everything that is wrong with a filter; nothing of it is trusted before. */
export function findFilterFaults(filter: BodyFilter): FilterFault[] {
  const bytes = Buffer.byteLength(JSON.stringify(filter))
  if (bytes > mostBytes) return [{ path: [], message: `is at most ${mostBytes / 1024} KiB` }]
  const check: Check = { faults: [], conditions: 0 }
  checkObject(check, filter, [])
  if (check.conditions > mostConditions)
    check.faults.push({ path: [], message: `has at most ${mostConditions} conditions` })
  return check.faults
}

function checkObject(check: Check, value: unknown, path: PropertyKey[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fault(check, path, 'must be an object of conditions')
  if (path.filter((step) => typeof step === 'string').length >= mostLevels)
    return fault(check, path, `is more than ${mostLevels} levels deep`)
  const entries = Object.entries(value)
  if (entries.length === 0) fault(check, path, 'has no condition')
  for (const [key, expected] of entries) {
    const place = [...path, key]
    if (key === '$or') checkAlternatives(check, expected, place)
    else if (key === '$not') checkObject(check, expected, place)
    else if (key.startsWith('$')) fault(check, place, notAnOperator)
    else checkField(check, key, expected, place)
  }
}

function checkAlternatives(check: Check, value: unknown, path: PropertyKey[]): void {
  if (!Array.isArray(value) || value.length === 0 || value.length > mostValues)
    return fault(check, path, `must be a list of 1 to ${mostValues} objects`)
  for (const [index, one] of value.entries()) checkObject(check, one, [...path, index])
}

function checkField(check: Check, key: string, expected: unknown, path: PropertyKey[]): void {
  checkLength(check, key, path)
  if (isNested(expected)) return checkObject(check, expected, path)
  check.conditions += 1
  if (Array.isArray(expected)) return checkValues(check, expected, path)
  if (typeof expected !== 'object' || expected === null) return checkValue(check, expected, path)
  const operators = Object.entries(expected)
  check.conditions += operators.length - 1
  for (const [operator, operand] of operators) checkOperator(check, operator, operand, [...path, operator])
}

function checkOperator(check: Check, operator: string, operand: unknown, path: PropertyKey[]): void {
  if (!fieldOperators.includes(operator)) return fault(check, path, notAnOperator)
  if (operator === '$in' || operator === '$nin') return checkValues(check, operand, path)
  if (operator === '$eq' || operator === '$ne') return checkValue(check, operand, path)
  if (operator === '$exists') {
    if (typeof operand !== 'boolean') fault(check, path, 'must be true or false')
    return
  }
  const allowsNumber = operator !== '$prefix'
  if (typeof operand !== 'string' && !(allowsNumber && typeof operand === 'number'))
    return fault(check, path, allowsNumber ? 'must be a number or a string' : 'must be a string')
  checkValue(check, operand, path)
}

function checkValues(check: Check, values: unknown, path: PropertyKey[]): void {
  if (!Array.isArray(values) || values.length === 0 || values.length > mostValues)
    return fault(check, path, `must be a list of 1 to ${mostValues} values`)
  check.conditions += values.length - 1
  for (const [index, value] of values.entries()) checkValue(check, value, [...path, index])
}

function checkValue(check: Check, value: unknown, path: PropertyKey[]): void {
  if (value !== null && !['string', 'number', 'boolean'].includes(typeof value))
    return fault(check, path, 'must be a string, a number, true, false or null')
  if (typeof value === 'string') checkLength(check, value, path)
  // JSON reads 1e400 as infinite.
  if (typeof value === 'number' && !Number.isFinite(value)) fault(check, path, 'is too large a number')
}

function checkLength(check: Check, text: string, path: PropertyKey[]): void {
  if (text.length > longestText) fault(check, path, `has more than ${longestText} characters`)
}

function fault(check: Check, path: PropertyKey[], message: string): void {
  check.faults.push({ path, message })
}
