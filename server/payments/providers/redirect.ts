import { z } from 'zod'
import { equalText } from '#connections'
import type { NextAction } from './provider.ts'

/** An address that a customer may be sent to. */
export const webUrl = z.url({ protocol: /^https?$/ })

/** The customer is sent there with these fields. */
export function postForm(url: string, fields: NextAction['fields']): NextAction {
  return { kind: 'redirect', method: 'POST', url, fields }
}

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

/** The customer is sent there by a link; without an address there is nowhere to go. */
export function followLink(url: string | null | undefined): NextAction | undefined {
  return url ? { kind: 'redirect', method: 'GET', url, fields: {} } : undefined
}

export function addParameter(url: string, parameter: string): string {
  return `${url}${url.includes('?') ? '&' : '?'}${parameter}`
}
