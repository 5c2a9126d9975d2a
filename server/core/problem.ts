import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { createEarlyAnswer, endGently, isBodyComing } from './early-answer.ts'
import { type FieldError, PipeError } from './errors.ts'
import { createId } from './ids.ts'

/** RFC 9457 problem, the one form of every error answer. */
const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.string().meta({ description: 'Stable; listed in docs/reference/errors.md.' }),
    detail: z.string().meta({ description: 'What is wrong and what to do.' }),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
    request_id: z.string(),
  })
  .meta({ id: 'Problem' })

const titles: Record<number, string> = {
  400: 'Bad request',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  413: 'Too large',
  415: 'Unsupported media type',
  422: 'Invalid request',
  429: 'Too many requests',
}

export async function sendProblem(
  error: FastifyError | PipeError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { status, headers, text } = describeFailure(error, request.id, request.log)
  reply.code(status).headers(headers)
  if (!isBodyComing(request.raw)) {
    await reply.send(text)
    return
  }
  reply.header('connection', 'close').header('content-length', Buffer.byteLength(text))
  await reply.send(createEarlyAnswer(text, request.raw))
}

export interface Failure {
  status: number
  headers: Record<string, string>
  /** The problem. */
  text: string
}

/** What a request that failed is answered; what is our fault is logged. */
export function describeFailure(error: unknown, requestId: string, log: FastifyBaseLogger): Failure {
  const problem = toPipeError(error)
  if (problem.status >= 500) {
    log.error({ err: error, internal: problem.internal }, 'request failed')
  }
  const { retryAfterSeconds: wait } = problem
  return {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json; charset=utf-8',
      ...(wait !== undefined && { 'retry-after': String(wait) }),
    },
    text: JSON.stringify(describeProblem(problem, requestId)),
  }
}

function describeProblem(problem: PipeError, requestId: string): z.infer<typeof Problem> {
  return {
    type: `urn:pipecore:problem:${problem.code}`,
    title: titles[problem.status] ?? (problem.status >= 500 ? 'Server error' : 'Bad request'),
    status: problem.status,
    code: problem.code,
    detail: problem.message,
    ...(problem.errors.length > 0 && { errors: [...problem.errors] }),
    request_id: requestId,
  }
}

/** What the framework itself refuses, in our codes. */
const frameworkProblems: Record<string, { code: string; status: number; message: string }> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: 'body_too_large',
    status: 413,
    message: 'The body is larger than this path accepts.',
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'media_type_unsupported',
    status: 415,
    message: 'Send Content-Type: application/json.',
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'body_incomplete',
    status: 400,
    message: 'The body is not as long as Content-Length says.',
  },
  FST_ERR_MAX_PARAM_LENGTH: {
    code: 'path_not_found',
    status: 404,
    message: 'There is no such path: an id in it is too long.',
  },
  FST_ERR_BAD_URL: { code: 'url_malformed', status: 400, message: 'The path is not a valid URL.' },
}

function toPipeError(error: unknown): PipeError {
  if (error instanceof PipeError) return error
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.flatMap((issue) =>
      toFieldErrors(issue, error.validationContext ?? 'request'),
    )
    return new PipeError(
      'request_invalid',
      422,
      `The request has ${countFaults(errors.length)}; see errors.`,
      { errors },
    )
  }
  const { code, statusCode, message = '' } = error as Partial<FastifyError>
  const known = code === undefined ? undefined : frameworkProblems[code]
  if (known !== undefined) return new PipeError(known.code, known.status, known.message)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new PipeError('request_refused', statusCode, message)
  }
  return new PipeError(
    'server_failed',
    500,
    'Something failed on our side. It is not known whether this was done: ask with your Idempotency-Key or by reference before you repeat it. What only reads can be tried again.',
    { cause: error },
  )
}

function countFaults(count: number): string {
  return count === 1 ? 'one fault' : `${count} faults`
}

interface Issue {
  instancePath: string
  message?: string | undefined
  params?: unknown
}

const partNames: Record<string, string> = {
  querystring: 'query',
  params: 'path',
  headers: 'headers',
  body: 'body',
}

function toFieldErrors(issue: Issue, part: string): FieldError[] {
  const path = issue.instancePath.split('/').filter((step) => step !== '')
  const keys = unknownKeys(issue.params)
  if (keys.length > 0)
    return keys.map((key) => ({ field: [...path, key].join('.'), message: 'is not a field here' }))
  const field = path.length === 0 ? (partNames[part] ?? part) : path.join('.')
  return [{ field, message: issue.message ?? 'is invalid' }]
}

function unknownKeys(params: unknown): string[] {
  const keys = typeof params === 'object' && params !== null && 'keys' in params ? params.keys : undefined
  return Array.isArray(keys) ? keys.map(String) : []
}

/** Answers what Node's own parser refused before there was a request, in the same form. */
export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const status = tooLarge ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400
  const problem = tooLarge
    ? new PipeError('headers_too_large', status, 'The headers are larger than 16 KB.')
    : new PipeError('request_malformed', status, 'This is not a well-formed HTTP request.')
  const body = JSON.stringify(describeProblem(problem, createId('req')))
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`
  endGently(socket, head + body)
}
