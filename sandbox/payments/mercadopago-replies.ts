import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import type { PaymentFault } from './payment-faults.ts'

type Cause = { code: number | string; description: string; data: null }

const errorNames: Record<number, string> = {
  400: 'bad_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  429: 'too_many_requests',
  500: 'internal_server_error',
}

/** Tells a refusal from what was asked for. */
export function isReply(value: object | null): value is Reply {
  return value !== null && 'status' in value && typeof value.status === 'number'
}

/** An error without a cause. */
export function refuse(status: number, message: string, error = errorNames[status] ?? 'error'): Reply {
  return replyJson(status, { message, error, status, cause: [] })
}

/** An error as `/v1` names it: by the code of its cause. */
export function refuseCause(code: number | string, description: string, status = 400): Reply {
  const cause: Cause[] = [{ code, description, data: null }]
  return replyJson(status, { message: description, error: errorNames[status], status, cause })
}

/** Subscriptions have errors of their own, without causes. */
export function refuseSubscription(message: string, status = 400): Reply {
  return replyJson(status, { message, status })
}

export function refuseInvalidToken(): Reply {
  return refuse(401, 'invalid access token')
}

/** What stands before the API answers when there is no token. */
export function refuseWithoutToken(): Reply {
  return replyJson(403, {
    message: 'At least one policy returned UNAUTHORIZED.',
    code: 'PA_UNAUTHORIZED_RESULT_FROM_POLICIES',
    blocked_by: 'PolicyAgent',
    status: 403,
  })
}

/** What the caller gets for a fault that MercadoPago words itself. */
export function refuseFault(fault: PaymentFault): Reply | null {
  if (fault.name === 'unauthorized') return refuseInvalidToken()
  if (fault.name === 'transient') return refuse(500, 'internal_error')
  if (fault.name !== 'rate_limited') return null
  const limited = refuse(429, 'Too many requests')
  return { ...limited, headers: { ...limited.headers, 'retry-after': String(fault.retryAfterSeconds) } }
}
