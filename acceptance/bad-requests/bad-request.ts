/** One request that must be refused, and what the refusal says. */
export interface BadRequest {
  name: string
  method?: string
  path: string
  /** Text and bytes go out as they are. */
  body?: unknown
  headers?: Record<string, string>
  /** Whose key; or a key itself. Default: the product's own. */
  as?: 'nobody' | 'admin' | 'tenant' | 'stranger' | { key: string }
  /** Default 422 `request_invalid`. */
  status?: number
  code?: string
  field?: string
  /** Other words the detail must hold. */
  says?: RegExp
  /** A refused webhook is kept, with the field as the check that failed. */
  kept?: boolean
}

/** The same good request with one thing wrong at a time. `remove` takes a field out. */
export function spoil(
  good: { method?: string; path: string; body: Record<string, unknown> },
  faults: ReadonlyArray<[name: string, change: Record<string, unknown>, field: string]>,
): BadRequest[] {
  const { method = 'POST', path, body } = good
  return faults.map(([name, change, field]) => {
    const spoiled = Object.fromEntries(
      Object.entries({ ...body, ...change }).filter(([, value]) => value !== remove),
    )
    return { name, method, path, body: spoiled, field }
  })
}

export const remove = Symbol('remove')
