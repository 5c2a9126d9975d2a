export type FormValue =
  | string
  | number
  | boolean
  | undefined
  | readonly FormValue[]
  | { readonly [name: string]: FormValue }

export type Form = { readonly [name: string]: FormValue }

/** A URL-encoded form with names such as `a[b][0]`; what is undefined is left out. */
export function writeForm(form: Form): string {
  return Object.entries(form)
    .flatMap(([name, value]) => listPairs(name, value))
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&')
}

function listPairs(name: string, value: FormValue): Array<[name: string, value: string]> {
  if (value === undefined) return []
  if (typeof value !== 'object') return [[name, String(value)]]
  return Object.entries(value).flatMap(([part, item]) => listPairs(`${name}[${part}]`, item))
}
