import type {
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { FastifyBaseLogger } from 'fastify'
import type { z } from 'zod'
import type { Context } from './context.ts'
import type { TenantScope } from './database.ts'
import type { GaugeSource } from './metrics/gauges.ts'

/** A Fastify scope whose schemas are Zod. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** One attempt at a job. */
export interface JobRun {
  jobId: string
  /** 1 for the first. Above 1 an earlier attempt failed or its process died at any point. */
  attempt: number
  lastAttempt: boolean
  /** The tenant whose work it is; undefined for the platform's own. */
  scope: TenantScope | undefined
  traceId: string
  /** Aborts when the time is up or the lease is lost. */
  signal: AbortSignal
}

export interface JobDefinition<Payload = unknown> {
  /** `module.verb_noun`, stable: rows in the database carry it. */
  name: string
  payload: z.ZodType<Payload>
  /** Attempts in all before the job is dead. */
  attempts: number
  timeoutSeconds: number
  /** Cron pattern in UTC: the job also runs by itself, without a tenant, once per tick over all processes. */
  schedule?: string
  /** Throwing means: try again later. A `RetryLater` says when. */
  run(context: Context, payload: Payload, run: JobRun): Promise<void>
  /** Called when no attempt is left, also when the process died in the last one: leaves nothing waiting for ever. */
  bury?(context: Context, payload: Payload, run: JobRun): Promise<void>
}

export interface EventType {
  /** `noun.past` */
  name: string
  version: number
  description: string
  schema: z.ZodObject
  /** What endpoints may still pin, the newest of them first. */
  older?: readonly OlderShape[]
}

export interface OlderShape {
  version: number
  schema: z.ZodObject
  /**
   * Makes its body from one of the version that follows it, so that events stored before a new version still step
   * down. Always the same from the same: the bytes are signed again at every attempt.
   */
  from(body: Readonly<Record<string, unknown>>): Record<string, unknown>
}

export interface Module {
  name: string
  /** Modules above this one in `modules.ts` that it imports. */
  needs: readonly string[]
  migrations?: URL
  routes?(app: App, context: Context, modules: readonly Module[]): void
  jobs?: readonly JobDefinition[]
  events?: readonly EventType[]
  /** Long-lived parts of every role; they start first and stop last. */
  links?(context: Context): readonly Worker[]
  /** Long-lived loops of role `worker`. */
  workers?(context: Context, modules: readonly Module[]): readonly Worker[]
  /** Figures that are looked up when somebody asks for them; every process has them. */
  gauges?(context: Context): readonly GaugeSource[]
}

export interface Worker {
  name: string
  start(): void
  /** Takes no new work, lets running work end within the grace, hands the rest back. */
  stop(graceMs: number): Promise<void>
}

/** Thrown by a job to be tried again at a known time, for instance after a provider's `Retry-After`. */
export class RetryLater extends Error {
  readonly afterMs: number
  /** Whether this try counts towards the job's attempts: waiting because we were told to does not. */
  readonly counts: boolean

  constructor(message: string, afterMs: number, counts = true) {
    super(message)
    this.name = 'RetryLater'
    this.afterMs = afterMs
    this.counts = counts
  }
}
