import { z } from 'zod'
import { invalidRequest, resourceMissing } from './stripe-errors.ts'
import type { List, StripeObject } from './stripe-objects.ts'
import { integer, range, text, texts } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Route } from './stripe-route.ts'
import { objectsOf } from './stripe-state.ts'
import type { StripeAccount } from './stripe-state.ts'

type ListSpec<Listed> = {
  /** Parameters that name what the objects belong to. */
  parents?: readonly string[]
  /** Parameters that name a field. */
  equals?: readonly string[]
  /** Further parameters, for `isShown`. */
  others?: readonly string[]
  isShown?: (listed: Listed, params: Params) => boolean
}

type Params = Record<string, string | string[] | undefined>

const DEFAULT_LIMIT = 10
const MOST_PER_PAGE = 100

const paging = {
  limit: integer.optional(),
  starting_after: text.optional(),
  ending_before: text.optional(),
  created: range.optional(),
}

/** `GET` of all objects of a type: newest first, consistent at once. */
export function listRoute<Listed extends StripeObject>(
  type: Listed['object'],
  path: string,
  spec: ListSpec<Listed> = {},
): Route {
  const { parents = [], equals = [], others = [], isShown = () => true } = spec
  const named = Object.fromEntries([...parents, ...equals].map((name) => [name, text.optional()]))
  const free = Object.fromEntries(others.map((name) => [name, z.union([text, texts]).optional()]))
  const schema = z.strictObject({ ...paging, ...named, ...free })
  return route('read', schema, ({ account }, { limit, starting_after, ending_before, created, ...rest }) => {
    const params: Params = rest
    const objects = narrow<Listed>(account, type, parents, params)
    const fits = (object: Listed) =>
      isIn(object.created, created) &&
      equals.every((name) => params[name] === undefined || fieldOf(object, name) === params[name]) &&
      isShown(object, params)
    return page(objects, { type, path, limit: checkLimit(limit), starting_after, ending_before, fits })
  })
}

/** Everything there is, as the list that an object carries inside. */
export function listOf<Item>(url: string, data: Item[]): List<Item> {
  return { object: 'list', url, has_more: false, data }
}

export function checkLimit(limit: number | undefined): number {
  if (limit === undefined) return DEFAULT_LIMIT
  if (limit >= 1 && limit <= MOST_PER_PAGE) return limit
  const bound = limit < 1 ? 'greater than or equal to 1' : `less than or equal to ${MOST_PER_PAGE}`
  throw invalidRequest(`This value must be ${bound}.`, {
    code: 'parameter_invalid_integer',
    param: 'limit',
  })
}

export function isIn(value: number, limits: z.infer<typeof range> | undefined): boolean {
  if (!limits) return true
  const { gt, gte, lt, lte } = { gt: undefined, lt: undefined, ...limits }
  return (
    (gt === undefined || value > gt) &&
    (gte === undefined || value >= gte) &&
    (lt === undefined || value < lt) &&
    (lte === undefined || value <= lte)
  )
}

function narrow<Listed extends StripeObject>(
  account: StripeAccount,
  type: Listed['object'],
  parents: readonly string[],
  params: Params,
): readonly Listed[] {
  const [first, ...others] = parents.flatMap((name) => params[name] ?? [])
  const objects = objectsOf<Listed>(account, type, first)
  return others.reduce<readonly Listed[]>((left, parent) => {
    const below = new Set<Listed>(objectsOf<Listed>(account, type, parent))
    return left.filter((object) => below.has(object))
  }, objects)
}

function fieldOf(object: StripeObject, name: string): string {
  return String((object as Record<string, unknown>)[name])
}

type Paging<Listed> = {
  type: string
  path: string
  limit: number
  starting_after: string | undefined
  ending_before: string | undefined
  fits: (object: Listed) => boolean
}

function page<Listed extends StripeObject>(objects: readonly Listed[], paging: Paging<Listed>): List<Listed> {
  const { type, path, limit, starting_after: after, ending_before: before, fits } = paging
  const step = before === undefined ? -1 : 1
  const cursor = before ?? after
  const start = cursor === undefined ? objects.length : objects.findLastIndex(({ id }) => id === cursor)
  if (start === -1)
    throw resourceMissing(type, cursor!, before === undefined ? 'starting_after' : 'ending_before')
  const data: Listed[] = []
  let index = start + step
  for (; index >= 0 && index < objects.length && data.length <= limit; index += step) {
    const object = objects[index]!
    if (fits(object)) data.push(object)
  }
  const shown = data.slice(0, limit)
  return {
    object: 'list',
    url: `/v1/${path}`,
    has_more: data.length > limit,
    data: step === 1 ? shown.toReversed() : shown,
  }
}
