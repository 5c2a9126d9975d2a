import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { type JobDefinition, RetryLater } from '#core/module.ts'
import { enqueueJob, wakeWork } from '#jobs'
import { findTenantScope } from '#tenants'
import { type Account, openAccount } from '../accounts.ts'
import { traceOf } from '../events.ts'
import { longestWaitMs, mostTries } from '../operation.ts'
import { tryCall } from '../operations.ts'
import { logRead, timeCall } from '../payment-log.ts'
import { notOffered, settleMethod, toRef, withoutAnswer } from './methods.ts'
import { findMethod, lockMethod, updateMethod } from './queries.ts'
import type { MethodRow } from './saved-methods.ts'

/** One asks at a time; the claim of a process that died ends when its call would be over. */
async function beginFinish(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
  { parameters, isReturn }: Finish,
): Promise<Account | undefined> {
  const row = await lockMethod(db, scope.tenantId, id)
  const isTaken =
    row?.finishing_at != null && context.now().getTime() - row.finishing_at.getTime() < longestCallMs(context)
  if (row?.status !== 'pending' || isTaken) return undefined
  await updateMethod(db, scope.tenantId, id, { finishing_at: context.now() })
  if (isReturn) await askLater(context, db, scope, id, parameters)
  return openAccount(context, db, scope, row)
}

/** Of `tryCall`: what took more than half of the time is not repeated. */
function longestCallMs({ config }: Context): number {
  return 2 * config.providerTimeoutMs + (mostTries - 1) * longestWaitMs
}

const polls = 20
const pollMs = 250

/** Another browser finishes: its end, or how it stands when time is up. */
async function findAfter(context: Context, scope: TenantScope, id: string): Promise<MethodRow | undefined> {
  for (let poll = 0; ; poll += 1) {
    const row = await context.database.asTenant(scope, (db) => findMethod(db, scope.tenantId, id))
    if (row?.status !== 'pending' || poll === polls) return row
    await sleep(pollMs)
  }
}

interface Finish {
  parameters: URLSearchParams
  /** Why now, for the story. */
  note: string
  /** Asked again while its end stays unknown, also where this process dies. */
  isReturn: boolean
}

interface Asked {
  row: MethodRow
  /** The provider could not say, but may later. */
  isOpen: boolean
}

/** Only the provider can say whether the method was saved. @returns undefined where it has an end or another asks. */
async function askForEnd(
  context: Context,
  scope: TenantScope,
  row: MethodRow,
  finish: Finish,
): Promise<Asked | undefined> {
  const account = await context.database.asTenant(scope, (db) =>
    beginFinish(context, db, scope, row.id, finish),
  )
  if (account === undefined) return undefined
  const { provider } = account
  const ended = await timeCall(
    () =>
      tryCall({
        account,
        run: async () =>
          provider.finishMethod?.(toRef(row), finish.parameters, account.context) ?? notOffered,
      }),
    account.lastAnswer,
  )
  const { outcome } = ended
  const asked = await context.database.asTenant(scope, async (db) => {
    const entry = { subject: row.id, provider: row.provider, action: 'finish_method', note: finish.note }
    await logRead(context, db, scope, entry, withoutAnswer(ended))
    if (outcome.outcome === 'done')
      return { row: await settleMethod(context, db, scope, row.id, outcome), isOpen: false }
    // Whoever opened the link may not have been the customer, or nothing could be asked: the next one may finish.
    await updateMethod(db, scope.tenantId, row.id, { finishing_at: null })
    return { row, isOpen: outcome.outcome === 'unknown' || outcome.error.retry !== 'never' }
  })
  wakeWork('delivery')
  return asked
}

/** The customer is back from the provider's page. */
export async function completeMethodReturn(
  context: Context,
  row: MethodRow,
  parameters: URLSearchParams,
): Promise<MethodRow> {
  const tenant = await findTenantScope(context, row.tenant_id, row.trace_id)
  if (tenant === undefined || row.status !== 'pending') return row
  const scope = traceOf(tenant, row)
  const finish = { parameters, note: 'The customer came back.', isReturn: true }
  const asked = await askForEnd(context, scope, row, finish)
  if (asked === undefined) return (await findAfter(context, scope, row.id)) ?? row
  return asked.row
}

const Return = z.strictObject({ method_id: z.string(), parameters: z.record(z.string(), z.string()) })

/** Asks again after a return whose end the provider did not tell: soon, since Oneclick's is lost after a minute. */
export const finishMethod: JobDefinition<z.infer<typeof Return>> = {
  name: 'payments.finish_method',
  payload: Return,
  attempts: 9,
  timeoutSeconds: 120,
  run: async (context, { method_id: id, parameters }, { scope, attempt }) => {
    if (scope === undefined) return
    const row = await context.database.asTenant(scope, (db) => findMethod(db, scope.tenantId, id))
    if (row?.status !== 'pending') return
    const finish = {
      parameters: new URLSearchParams(parameters),
      note: 'Its end was not known yet.',
      isReturn: false,
    }
    const asked = await askForEnd(context, scope, row, finish)
    if (asked === undefined) throw new RetryLater('Another one asks.', firstWaitMs, false)
    if (asked.isOpen)
      throw new RetryLater('The provider does not say whether the method was saved.', waitAfter(attempt))
  },
}

export const firstWaitMs = 2_000
/** While Oneclick may still tell: six of these tries are within its minute. */
const longestEarlyWaitMs = 10_000
const earlyTries = 6

/** Milliseconds until the next try; `attempt` is 1 for the first. */
export function waitAfter(attempt: number): number {
  const waitMs = firstWaitMs * 2 ** attempt
  return attempt < earlyTries ? Math.min(waitMs, longestEarlyWaitMs) : waitMs
}

/** Each customer's return once: whoever opens the link again asks himself, and names what he came with. */
async function askLater(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  id: string,
  parameters: URLSearchParams,
): Promise<void> {
  const now = context.now()
  const payload = { method_id: id, parameters: Object.fromEntries(parameters) }
  const runAt = new Date(now.getTime() + firstWaitMs)
  await enqueueJob(db, finishMethod, payload, {
    scope,
    traceId: scope.traceId,
    key: `finish_method/${id}/${hashOf(parameters)}`,
    runAt,
    now,
  })
}

function hashOf(parameters: URLSearchParams): string {
  return createHash('sha256').update(parameters.toString()).digest('hex')
}

const longestOpenMs = 24 * 60 * 60 * 1000

/** A customer who never came back, or a process that died while saving: unless the provider knows better, it is no method. */
export async function endAbandonedMethod(context: Context, scope: TenantScope, id: string): Promise<void> {
  const row = await context.database.asTenant(scope, (db) => findMethod(db, scope.tenantId, id))
  if (row?.status !== 'pending') return
  const finish = {
    parameters: new URLSearchParams(),
    note: 'The customer did not come back.',
    isReturn: false,
  }
  const asked = await askForEnd(context, scope, row, finish).catch(passIfUnaskable)
  const isYoung = context.now().getTime() - row.created_at.getTime() < longestOpenMs
  if (asked === undefined || (asked.isOpen && isYoung)) return
  await context.database.asTenant(scope, (db) =>
    settleMethod(context, db, scope, id, { outcome: 'done', snapshot: { status: 'canceled' } }),
  )
  wakeWork('delivery')
}

/** Nobody is left to be asked, or nobody may be while the account can't be opened: that may be mended for a day. */
function passIfUnaskable(error: unknown): Pick<Asked, 'isOpen'> {
  if (!(error instanceof PipeError)) throw error
  if (error.code === 'connection_missing') return { isOpen: false }
  if (error.status >= 500 && error.code !== 'secret_unreadable') throw error
  return { isOpen: true }
}
