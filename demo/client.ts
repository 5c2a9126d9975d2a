import { StepFailed } from './check.ts'

interface CallOptions {
  body?: unknown
  /** The status that holds; any 2xx when left out. */
  status?: number
}

export type Client = <Answer>(method: string, path: string, options?: CallOptions) => Promise<Answer>

const patienceMs = 15_000

/** Calls one HTTP API with JSON both ways; an answer of another status fails the step. */
export function createClient(baseUrl: string, key?: string): Client {
  return async <Answer>(method: string, path: string, { body, status }: CallOptions = {}) => {
    const answer = await fetch(baseUrl + path, {
      method,
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(patienceMs),
    }).catch((error: Error) => {
      const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
      throw new StepFailed(`${method} ${path}`, 'an answer', error.message + cause)
    })
    const text = await answer.text()
    const holds = status === undefined ? answer.ok : answer.status === status
    if (!holds)
      throw new StepFailed(`${method} ${path}`, `HTTP ${status ?? '2xx'}`, `HTTP ${answer.status} ${text}`)
    return JSON.parse(text) as Answer
  }
}
