import { z } from 'zod'
import type { NextAction } from './provider.ts'

/** An address that a customer may be sent to. */
export const webUrl = z.url({ protocol: /^https?$/ })

/** The customer is sent there with these fields. */
export function postForm(url: string, fields: NextAction['fields']): NextAction {
  return { kind: 'redirect', method: 'POST', url, fields }
}
