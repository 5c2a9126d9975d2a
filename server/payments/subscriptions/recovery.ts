import type { Kysely } from 'kysely'
import type { Outcome } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import { type Account, openAccount } from '../accounts.ts'
import { logRead, timeCall } from '../payment-log.ts'
import { readJson } from '../presentation.ts'
import type { SubscriptionSnapshot } from '../providers/provider.ts'
import { isOver } from '../operation.ts'
import { type Look, lookAtPayment, words } from '../recovery.ts'
import { isEnded, neverFound, nextLookAt } from './checks.ts'
import { toSubscriptionRef } from './commands.ts'
import { writeDecision } from './decisions.ts'
import type { SubscriptionOperation } from './operation.ts'
import { performCall, prepareCall, type SubscriptionCall, unknownChange } from './operations.ts'
import { findSubscription, lockSubscription, type SubscriptionRow } from './queries.ts'
import { type Applied, applySubscriptionSnapshot } from './subscription-snapshots.ts'
import { saveSubscription } from './transitions.ts'

/** Readings that crossed with a change are thrown away this often. */
const mostReadings = 10

/**
 * Reads a native subscription at its provider and brings ours in line. An operation without a known end is judged
 * by what was read: it had its effect, or it is made again where that can't double, or it is given up.
 */
export async function readBack(
  context: Context,
  scope: TenantScope,
  id: string,
  look: Look,
): Promise<SubscriptionRow | undefined> {
  for (let reading = 1; ; reading += 1) {
    const judged = await readOnce(context, scope, id, look, reading === mostReadings)
    if (judged === 'crossed') continue
    wakeWork('delivery')
    for (const paymentId of judged?.paymentIds ?? []) await lookAtPayment(context, scope, paymentId, look)
    if (judged?.again === undefined) return judged?.row
    return (await performCall(context, scope, judged.again)).row
  }
}

interface Judgement extends Applied {
  /** A call to make once this has committed. */
  again?: SubscriptionCall
}

async function readOnce(
  context: Context,
  scope: TenantScope,
  id: string,
  look: Look,
  isLast: boolean,
): Promise<Judgement | 'crossed' | undefined> {
  const opened = await context.database.asTenant(scope, async (db) => {
    const row = await findSubscription(db, scope.tenantId, id)
    if (row === undefined) return undefined
    return { row, account: await openAccount(context, db, scope, row) }
  })
  if (opened === undefined) return undefined
  const { account } = opened
  const { subscriptions } = account.provider
  if (subscriptions === undefined) return { row: opened.row, paymentIds: [] }
  const ended = await timeCall(
    () => subscriptions.read(toSubscriptionRef(opened.row), account.context),
    () => account.lastAnswer(),
  )
  return context.database.asTenant(scope, async (db) => {
    const row = await lockSubscription(db, scope.tenantId, id)
    if (row === undefined) return undefined
    // States come and go here, unlike those of payments: what was read before a change must not undo it.
    if (!isLast && !isSame(row, opened.row)) return 'crossed'
    const entry = { subject: id, provider: row.provider, action: 'read_subscription', note: words[look] }
    await logRead(context, db, scope, entry, ended)
    return judge(context, db, scope, { row, account }, ended.outcome)
  })
}

function isSame(one: SubscriptionRow, other: SubscriptionRow): boolean {
  return JSON.stringify({ ...one, check_at: null }) === JSON.stringify({ ...other, check_at: null })
}

interface Subject {
  row: SubscriptionRow
  account: Account
}

async function judge(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { row, account }: Subject,
  read: Outcome<{ snapshot: SubscriptionSnapshot | undefined }>,
): Promise<Judgement> {
  const running = readJson<SubscriptionOperation>(row.operation)
  const operation = running !== null && isOver(context, running) ? running : undefined
  if (read.outcome !== 'done') return wait(context, db, scope, row, operation)
  const { snapshot } = read
  if (snapshot === undefined) return judgeMissing(context, db, scope, { row, account }, operation)
  const isDone = operation !== undefined && hasEffect(operation, snapshot)
  const extra = isDone ? { operation: null } : {}
  const applied = await applySubscriptionSnapshot(context, db, scope, { row, account }, snapshot, extra)
  const subject = { row: applied.row, account }
  if (operation !== undefined && !isDone) {
    return { ...applied, again: await prepareAgain(context, db, scope, subject, operation) }
  }
  const isOrphan = applied.row.operation === null && isEnded(applied.row.status) && isAlive(snapshot)
  return isOrphan ? { ...applied, again: await endOrphan(context, db, scope, subject) } : applied
}

/** An update asks for a state, not for a step: made twice it is the same. */
function hasEffect({ kind }: SubscriptionOperation, { status }: SubscriptionSnapshot): boolean {
  return kind === 'create' || (kind === 'cancel' && isEnded(status))
}

function isAlive({ status }: SubscriptionSnapshot): boolean {
  return !isEnded(status) && status !== 'unknown'
}

/** Nothing more is known: look again later. */
async function wait(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
  operation: SubscriptionOperation | undefined,
): Promise<Judgement> {
  const later = row.operation === null ? { check_at: nextLookAt(row, undefined, context.now()) } : {}
  const change =
    operation === undefined
      ? later
      : unknownChange(context, row, { ...operation, round: operation.round + 1 })
  return { row: await saveSubscription(context, db, scope, row, change), paymentIds: [] }
}

/** As long as the libraries of the providers repeat by themselves: later a charge would come as a surprise. */
const longestCreateMs = 15 * 60 * 1000

/** The provider certainly knows nothing of it. */
async function judgeMissing(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  subject: Subject,
  operation: SubscriptionOperation | undefined,
): Promise<Judgement> {
  const { row, account } = subject
  if (operation === undefined) return wait(context, db, scope, row, operation)
  if (operation.kind !== 'create') {
    const change = { operation: null, ...(operation.kind === 'cancel' && { status: 'canceled' as const }) }
    return { row: await saveSubscription(context, db, scope, row, change), paymentIds: [] }
  }
  const { capabilities, subscriptions } = account.provider
  const ageMs = context.now().getTime() - row.created_at.getTime()
  if (ageMs >= longestCreateMs) return giveUp(context, db, scope, row)
  const mayRepeat = subscriptions?.keepsKeys === true && ageMs < (capabilities.idempotency?.keptMs ?? 0)
  if (!mayRepeat) return wait(context, db, scope, row, operation)
  return { row, paymentIds: [], again: await prepareAgain(context, db, scope, subject, operation) }
}

function prepareAgain(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  subject: Subject,
  operation: SubscriptionOperation,
): Promise<SubscriptionCall> {
  const { kind, change } = operation
  return prepareCall(context, db, scope, subject, { kind, ...(change && { change }), again: operation })
}

async function giveUp(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  row: SubscriptionRow,
): Promise<Judgement> {
  const text = 'The provider knows nothing of it: it was not made, and it is not tried again.'
  await writeDecision(context, db, scope, row, text)
  const change = { operation: null, status: 'expired' as const, failure: JSON.stringify(neverFound) }
  const checkAt = nextLookAt({ ...row, ...change }, undefined, context.now())
  return {
    row: await saveSubscription(context, db, scope, row, { ...change, check_at: checkAt }),
    paymentIds: [],
  }
}

/** What ended for us must not go on charging at the provider. */
async function endOrphan(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  subject: Subject,
): Promise<SubscriptionCall> {
  const text = `It is ${subject.row.status} here and lives at the provider: it is canceled there, so that nobody pays for it.`
  await writeDecision(context, db, scope, subject.row, text)
  return prepareCall(context, db, scope, subject, { kind: 'cancel' })
}
