import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { type FieldError, PipeError } from './errors.ts'

/** RFC 9457 problem, the one form of every error answer. */
export const Problem = z
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
  const problem = toPipeError(error)
  if (problem.status >= 500) {
    request.log.error({ err: error, internal: problem.internal }, 'request failed')
  }
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', String(problem.retryAfterSeconds))
  await reply
    .code(problem.status)
    .type('application/problem+json')
    .send(
      JSON.stringify({
        type: `urn:pipecore:problem:${problem.code}`,
        title: titles[problem.status] ?? 'Server error',
        status: problem.status,
        code: problem.code,
        detail: problem.message,
        ...(problem.errors.length > 0 && { errors: problem.errors }),
        request_id: request.id,
      }),
    )
}

/** What the framework itself refuses, in our codes. */
const frameworkProblems: Record<string, { code: string; status: number; message: string }> = {
  FST_ERR_CTP_INVALID_JSON_BODY: {
    code: 'body_not_json',
    status: 400,
    message: 'The body is not valid JSON.',
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: {
    code: 'body_empty',
    status: 400,
    message: 'The body is empty; send a JSON object.',
  },
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
  FST_ERR_BAD_URL: { code: 'url_malformed', status: 400, message: 'The path is not a valid URL.' },
}

function toPipeError(error: FastifyError | PipeError | Error): PipeError {
  if (error instanceof PipeError) return error
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map((issue): FieldError =>
      toFieldError(issue, error.validationContext ?? 'request'),
    )
    return new PipeError(
      'request_invalid',
      422,
      `The request has ${countFaults(errors.length)}; see errors.`,
      { errors },
    )
  }
  const { code, statusCode } = error as Partial<FastifyError>
  const known = code === undefined ? undefined : frameworkProblems[code]
  if (known !== undefined) return new PipeError(known.code, known.status, known.message)
  if (error instanceof SyntaxError && statusCode === 400) {
    return new PipeError('body_not_json', 400, 'The body is not valid JSON.')
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new PipeError('request_refused', statusCode, error.message)
  }
  return new PipeError(
    'server_failed',
    500,
    'Something failed on our side. Nothing is half done; try again.',
    { cause: error },
  )
}

function countFaults(count: number): string {
  return count === 1 ? 'one fault' : `${count} faults`
}

function toFieldError(
  issue: { instancePath: string; message?: string | undefined; params?: unknown },
  part: string,
): FieldError {
  const path = issue.instancePath
    .split('/')
    .filter((step) => step !== '')
    .join('.')
  const field = path === '' ? part : path
  return { field, message: issue.message ?? 'is invalid' }
}
