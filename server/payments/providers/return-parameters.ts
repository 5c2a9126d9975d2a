import { equalText } from '#connections'

/**
 * Whether everything that came back under these names is what was expected, whatever its case and however often it
 * came. What did not come contradicts nothing: parameters come by way of the browser and prove nothing either.
 */
export function agrees(parameters: URLSearchParams, expected: Readonly<Record<string, string>>): boolean {
  return Object.entries(expected).every(([name, ours]) =>
    parameters.getAll(name).every((text) => equalText(text.toLowerCase(), ours.toLowerCase())),
  )
}

export function hasAny(parameters: URLSearchParams, ...names: string[]): boolean {
  return names.some((name) => parameters.has(name))
}
