export type FormValue = string | FormValue[] | { [name: string]: FormValue }
export type Form = { [name: string]: FormValue }

type Branch = Map<string, string | Branch>

/** `a[b][0]=x` as nested objects and lists, as Stripe reads bodies and queries. */
export function parseForm(entries: Iterable<[name: string, value: string]>): Form {
  const root: Branch = new Map()
  for (const [name, value] of entries) place(root, splitName(name), value)
  return Object.fromEntries([...root].map(([name, value]) => [name, toValue(value)]))
}

/** The other way round: `['a', 'b', 0]` is `a[b][0]`. */
export function writeName(path: readonly PropertyKey[]): string {
  const [first = '', ...rest] = path.map(String)
  return first + rest.map((part) => `[${part}]`).join('')
}

function splitName(name: string): string[] {
  const open = name.indexOf('[')
  if (open <= 0 || !name.endsWith(']')) return [name]
  return [name.slice(0, open), ...name.slice(open + 1, -1).split('][')]
}

function place(branch: Branch, [first = '', ...rest]: string[], value: string): void {
  const name = first === '' ? String(branch.size) : first
  if (rest.length === 0) {
    branch.set(name, value)
    return
  }
  const known = branch.get(name)
  const next: Branch = known instanceof Map ? known : new Map()
  branch.set(name, next)
  place(next, rest, value)
}

function toValue(value: string | Branch): FormValue {
  if (typeof value === 'string') return value
  const names = [...value.keys()]
  const values = [...value.values()].map(toValue)
  const isList = names.every((name, index) => name === String(index))
  return isList ? values : Object.fromEntries(names.map((name, index) => [name, values[index]!]))
}
