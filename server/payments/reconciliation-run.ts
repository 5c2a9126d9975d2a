import type { Kysely } from 'kysely'
import type { NotDone } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { wakeWork } from '#jobs'
import { recordEvents } from '#webhooks/outbound'
import type { Account } from './accounts.ts'
import { toRef } from './commands.ts'
import { type Drift, findDrifts, holdsMoney } from './drifts.ts'
import { eventAbout, traceOf } from './events.ts'
import { type FinishedCall, logRead, timeCall, writeLog } from './payment-log.ts'
import type { PaymentSnapshot } from './providers/provider.ts'
import { listRefunds, lockPayment, type PaymentRow, type RefundRow } from './queries.ts'
import {
  addDrifts,
  findListed,
  isDriftTold,
  listPaymentsSince,
  listRefundsOfPayments,
  type ReconciliationRow,
} from './reconciliation-queries.ts'
import { applySnapshot } from './snapshots.ts'

/** One comparison of a tenant's payments at a provider. */
export interface Run {
  context: Context
  scope: TenantScope
  row: ReconciliationRow
  account: Account
  signal: AbortSignal
  seen: Seen
}

/** Ids, because lists name a payment more than once. */
export interface Seen {
  ours: Set<string>
  foreign: Set<string>
  /** A call about it is under way: its end is found by who made it, or by the janitor. */
  busy: Set<string>
  unread: Set<string>
}

const hourMs = 60 * 60 * 1000
/** Payments of a provider without a list are read one by one, and not told of for longer. */
export const longestReadMs = 7 * 24 * hourMs
const pageSize = 200
/** Kept with a reconciliation; all are told as events. */
const mostDrifts = 500
/** After so many answers that did not come the provider is left alone for a while. */
const mostUnreadInRow = 5

/** @returns what the provider said when it could not be asked to the end; what was found until then is kept. */
export function comparePayments(run: Run): Promise<NotDone | undefined> {
  return run.account.provider.list === undefined ? compareOneByOne(run) : compareLists(run)
}

async function compareLists(run: Run): Promise<NotDone | undefined> {
  const { provider, context: providerContext } = run.account
  let cursor: string | undefined
  for (;;) {
    run.signal.throwIfAborted()
    const page = await provider.list?.(run.row.since, cursor, providerContext)
    if (page === undefined) return undefined
    if (page.outcome !== 'done') return page
    const silence = await comparePage(run, page.payments)
    if (silence !== undefined) return silence
    if (page.next === undefined || page.next === cursor) return undefined
    cursor = page.next
  }
}

type Listed = ReadonlyArray<{ paymentId?: string; snapshot: PaymentSnapshot }>

interface Suspect {
  payment: PaymentRow
  /** What took money for it there, and may not be the payment that we know. */
  twin?: string | undefined
}

/** Lists may be short or late: they only tell which payments are worth a look. */
async function comparePage(run: Run, listed: Listed): Promise<NotDone | undefined> {
  const known = await findKnown(run, listed)
  const suspects = new Map<string, Suspect>()
  for (const { paymentId, snapshot } of listed) {
    const { providerPaymentId } = snapshot
    const entry = known.byProviderId.get(providerPaymentId ?? '') ?? known.byId.get(paymentId ?? '')
    if (entry === undefined) run.seen.foreign.add(providerPaymentId ?? '')
    else {
      const { payment, refunds } = entry
      run.seen.ours.add(payment.id)
      const isOther = ![null, undefined, providerPaymentId].includes(payment.provider_payment_id)
      const twin = keepsMoney(snapshot) ? providerPaymentId : undefined
      const isSuspect = isOther ? twin !== undefined : findDrifts(payment, refunds, snapshot).length > 0
      if (isSuspect) suspects.set(`${payment.id} ${twin}`, { payment, twin })
    }
  }
  return lookAtEach(run, [...suspects.values()])
}

interface Known {
  byId: Map<string, { payment: PaymentRow; refunds: RefundRow[] }>
  byProviderId: Known['byId']
}

async function findKnown({ context, scope, row }: Run, listed: Listed): Promise<Known> {
  const ids = {
    paymentIds: listed.flatMap(({ paymentId }) => paymentId ?? []),
    providerPaymentIds: listed.flatMap(({ snapshot }) => snapshot.providerPaymentId ?? []),
  }
  return context.database.asTenant(scope, async (db) => {
    const payments = await findListed(db, scope.tenantId, row.provider, ids)
    const refunds = await listRefundsOfPayments(
      db,
      scope.tenantId,
      payments.map(({ id }) => id),
    )
    const entries = payments.map((payment) => ({
      payment,
      refunds: refunds.filter((refund) => refund.payment_id === payment.id),
    }))
    return {
      byId: new Map(entries.map((entry) => [entry.payment.id, entry])),
      byProviderId: new Map(
        entries.flatMap((entry) => {
          const id = entry.payment.provider_payment_id
          return id === null ? [] : [[id, entry] as const]
        }),
      ),
    }
  })
}

function keepsMoney({ status, captured, refunded }: PaymentSnapshot): boolean {
  return holdsMoney(status) && (status === 'authorized' || captured > refunded)
}

async function compareOneByOne(run: Run): Promise<NotDone | undefined> {
  const { context, scope, row } = run
  // With a margin: the oldest must not come of age between here and there.
  const oldest = new Date(context.now().getTime() - longestReadMs + hourMs)
  const since = row.since < oldest ? oldest : row.since
  let after = ''
  for (;;) {
    const payments = await context.database.asTenant(scope, (db) =>
      listPaymentsSince(db, scope.tenantId, row.provider, since, { after, limit: pageSize }),
    )
    for (const { id } of payments) run.seen.ours.add(id)
    const silence = await lookAtEach(
      run,
      payments.map((payment) => ({ payment })),
    )
    const last = payments.at(-1)
    if (silence !== undefined || last === undefined) return silence
    after = last.id
  }
}

async function lookAtEach(run: Run, suspects: readonly Suspect[]): Promise<NotDone | undefined> {
  let unreadInRow = 0
  for (const suspect of suspects) {
    run.signal.throwIfAborted()
    const silence = await lookAt(run, suspect)
    unreadInRow = silence === undefined ? 0 : unreadInRow + 1
    if (silence !== undefined) run.seen.unread.add(suspect.payment.id)
    if (unreadInRow >= mostUnreadInRow) return silence
  }
  return undefined
}

async function lookAt(run: Run, { payment, twin }: Suspect): Promise<NotDone | undefined> {
  if (payment.operation !== null) {
    run.seen.busy.add(payment.id)
    return undefined
  }
  const { account } = run
  const ended = await timeCall(
    () => account.provider.read(toRef(payment), account.context),
    () => account.lastAnswer(),
  )
  const { outcome } = ended
  if (outcome.outcome !== 'done') return outcome
  const { snapshot } = outcome
  if (snapshot !== undefined) await bringInLine(run, payment.id, { ...ended, snapshot, twin })
  return undefined
}

interface Sight extends FinishedCall {
  snapshot: PaymentSnapshot
  twin: string | undefined
}

/** The difference, its event and what mends it are one transaction under the payment's lock: each is told once. */
async function bringInLine(run: Run, paymentId: string, sight: Sight): Promise<void> {
  const { context, scope, row } = run
  await context.database.asTenant(scope, async (db) => {
    const payment = await lockPayment(db, scope.tenantId, paymentId)
    if (payment === undefined) return
    if (payment.operation !== null) {
      run.seen.busy.add(paymentId)
      return
    }
    const refunds = await listRefunds(db, scope.tenantId, paymentId)
    const drifts = findDrifts(payment, refunds, sight.snapshot, sight.twin)
    if (drifts.length === 0) return
    const found = drifts.map(({ drift, known, found: words }) => ({
      payment_id: paymentId,
      drift,
      known,
      found: words,
    }))
    await addDrifts(db, scope.tenantId, row.id, found, mostDrifts)
    await tellAndMend(run, db, payment, sight, drifts)
  })
  wakeWork('delivery')
}

async function tellAndMend(
  { context, scope, account }: Run,
  db: Kysely<Tables>,
  payment: PaymentRow,
  { snapshot, ...call }: Sight,
  drifts: readonly Drift[],
): Promise<void> {
  const own = traceOf(scope, payment)
  const about = { subject: payment.id, provider: payment.provider }
  const untold: Drift[] = []
  // What a snapshot can't mend is found again by every run.
  for (const drift of drifts) {
    if (!(await isDriftTold(db, scope.tenantId, payment.id, noteOf(drift, account)))) untold.push(drift)
  }
  const mends = drifts.some((drift) => drift.mends)
  if (untold.length === 0 && !mends) return
  const read = { ...about, action: 'read_payment', note: 'Read for reconciliation.' }
  await logRead(context, db, own, read, call)
  for (const drift of untold) {
    await writeLog(context, db, own, { ...about, action: 'drift_detected', note: noteOf(drift, account) })
  }
  // What follows from a difference is not told before it.
  const now = context.now()
  const next = mends ? await applySnapshot(context, db, own, payment, snapshot) : payment
  const events = untold.map(({ drift, known, found }) =>
    eventAbout(next, 'payment.drift_detected', now, { drift, known, found }),
  )
  await recordEvents(db, own, events, now)
}

function noteOf({ known, found }: Drift, { provider }: Account): string {
  return `Reconciliation found a difference. Here: ${known}. At ${provider.title}: ${found}.`
}
