import type { z } from 'zod'
import type { Outbound } from '#core/outbound.ts'

/** What went wrong at a provider, in the words every part of PipeCore reads. */
export type ErrorKind =
  | 'rate_limited'
  | 'transient'
  | 'auth'
  | 'account'
  | 'recipient'
  | 'opted_out'
  | 'window_closed'
  | 'content'
  | 'config'
  /** The state of what it is about does not allow it: it may already be done. Read it. */
  | 'state'
  | 'unknown'

export interface ProviderError {
  kind: ErrorKind
  retry: 'never' | 'backoff' | { afterMs: number }
  /** Whether another provider may be tried instead. */
  failover: boolean
  httpStatus?: number
  /** The provider's own code. */
  code?: string
  /** Safe to show: holds no credential. */
  message: string
}

/**
 * `done`: the provider took it. `refused`: certainly no effect. `unknown`: it left and no answer came;
 * it is healed by callback, look-up or the same idempotency key and never resent blindly.
 */
export type Outcome<Done> =
  | ({ outcome: 'done' } & Done)
  | { outcome: 'refused'; error: ProviderError }
  | { outcome: 'unknown'; error: ProviderError }

export interface ProviderContext<Credentials> {
  credentials: Credentials
  /** Origin of the provider's API without a trailing slash: its own, or the operator's override. */
  baseUrl: string
  /** Where this provider reports to us for this tenant; already carries `tenant_id` and `provider`. */
  webhookUrl: string
  outbound: Outbound
  timeoutMs: number
  now: () => Date
  /** Told of every call that is over. */
  onCall?: (call: { outcome: Outcome<unknown>; durationMs: number }) => void
}

export interface RawWebhook {
  method: string
  /** Configured public origin + the request target exactly as received: what providers sign. */
  publicUrl: string
  query: URLSearchParams
  /** Lower-case names. */
  headers: Record<string, string>
  body: Buffer
}

export type Verification =
  /** `isHint`: anybody may have sent it, it does no more than make us read. */
  | { ok: true; isHint?: boolean }
  | {
      ok: false
      check: 'secret_missing' | 'header_missing' | 'signature' | 'timestamp' | 'body'
      reason: string
    }

export interface HttpAnswer {
  status: number
  contentType?: string
  body?: string
}

export interface CheckResult {
  ok: boolean
  /** One sentence each, for a person: what works, what is missing, what to do. */
  notes: string[]
}

/** The part of the contract that every capability's providers share. Order inside a provider's file: facts, schemas, verbs, mapping. */
export interface Provider<Credentials> {
  id: string
  /** As people write it: `Twilio`. */
  title: string
  baseUrl: string
  /** Where the credentials decide which of the provider's hosts is called. */
  baseUrlOf?(credentials: Credentials): string
  /** Describes, validates and masks: fields made with `secretField` never leave the server. */
  credentials: z.ZodType<Credentials>
  /** Pure and synchronous; runs over the bytes as received, before anything is looked up. */
  verify(webhook: RawWebhook, credentials: Credentials, now: Date): Verification
  /** Whether what is inside a verified payload belongs to this account (and tenant, where the payload names it). */
  owns(webhook: RawWebhook, credentials: Credentials, tenantId: string): boolean
  /** Answers a set-up challenge such as Meta's; undefined when the request is none. */
  handshake?(webhook: RawWebhook, credentials: Credentials): HttpAnswer | undefined
  /** What the provider wants to read after its webhook was stored. */
  acknowledgement: HttpAnswer
  /** Calls the provider with the credentials and explains in words. Never throws. */
  check(context: ProviderContext<Credentials>): Promise<CheckResult>
}
