import type { Context } from '#core/context.ts'
import type { Caller } from '#tenants'
import { requireEndpoint } from '../endpoints.ts'
import { requireWholeEvent } from '../event-log.ts'
import { type BodyFilter, compileFilter, type Condition, conditionsOf } from './body-filter.ts'
import { matchPaths } from './queries.ts'
import type { FilterTest, FilterTestResult } from './schema.ts'

/** Whether an event would be delivered, judged as the fan-out judges it, and which conditions stand against it. */
export async function testFilter(
  context: Context,
  caller: Caller,
  endpointId: string,
  input: FilterTest,
): Promise<FilterTestResult> {
  const endpoint = await requireEndpoint(context, caller, endpointId)
  const body =
    input.event_id === undefined
      ? JSON.stringify(input.body)
      : (await requireWholeEvent(context, caller, input.event_id)).body
  const filter = input.filter ?? (JSON.parse(endpoint.filter ?? 'null') as BodyFilter | null)
  if (filter === null) return { matches: true, failed: [] }
  const conditions = conditionsOf(filter)
  const all = flatten(conditions)
  const paths = [compileFilter(filter), ...all.map(({ path }) => path)]
  const [matches = false, ...fulfilled] = await matchPaths(context.database.system, body, paths)
  const isFulfilled = new Map(all.map((condition, index) => [condition, fulfilled[index] === true]))
  const failed = matches ? [] : innermostFailures(conditions, isFulfilled)
  return { matches, failed: failed.map(({ field, expected }) => ({ field, expected })) }
}

function flatten(conditions: readonly Condition[]): Condition[] {
  return conditions.flatMap((condition) => [condition, ...flatten(condition.parts)])
}

/** An object fails as a whole where each of its conditions is fulfilled, but by different elements of a list. */
function innermostFailures(
  conditions: readonly Condition[],
  isFulfilled: ReadonlyMap<Condition, boolean>,
): Condition[] {
  return conditions
    .filter((condition) => isFulfilled.get(condition) === false)
    .flatMap((condition) => {
      const within = innermostFailures(condition.parts, isFulfilled)
      return within.length > 0 ? within : [condition]
    })
}
