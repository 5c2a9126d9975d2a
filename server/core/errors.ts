export interface FieldError {
  /** Path in the request, such as `credentials.apiKey`. */
  field: string
  message: string
}

export interface PipeErrorOptions {
  errors?: readonly FieldError[]
  /** For our own log only; never leaves the server. */
  internal?: string
  cause?: unknown
  retryAfterSeconds?: number
}

/**
 * The one error of the house. `code` is stable (`noun_problem`), `message` tells the caller what to do
 * and is safe to show; `internal` and `cause` are for the log.
 */
export class PipeError extends Error {
  readonly code: string
  readonly status: number
  readonly errors: readonly FieldError[]
  readonly internal: string | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: string, status: number, message: string, options: PipeErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.name = 'PipeError'
    this.code = code
    this.status = status
    this.errors = options.errors ?? []
    this.internal = options.internal
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export function notFound(noun: string, id: string): PipeError {
  return new PipeError(
    `${noun}_not_found`,
    404,
    `There is no ${noun.replaceAll('_', ' ')} ${JSON.stringify(id)}.`,
  )
}

export function invalidRequest(message: string, errors: readonly FieldError[]): PipeError {
  return new PipeError('request_invalid', 422, message, { errors })
}
