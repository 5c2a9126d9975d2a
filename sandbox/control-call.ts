import type { Call, Reply } from './http.ts'
import type { Site } from './site.ts'

/** `first` and `second` are what follows the area: `/sandbox/<area>/<first>/<second>`. */
export type ControlInput = { site: Site; call: Call; first: string | undefined; second: string | undefined }

export type ControlCall = { does: string; run: (input: ControlInput) => Reply | null | Promise<Reply | null> }

/** By method and the word after `/sandbox/`. */
export type ControlCalls = Record<string, ControlCall>

/** The JSON of the body; nothing is an empty object. Throws SyntaxError. */
export function readInput(call: Call): unknown {
  return call.body.length === 0 ? {} : JSON.parse(call.body.toString('utf8'))
}
