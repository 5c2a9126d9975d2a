import { eventually } from '../harness.ts'
import { type Quiet, waitUntilQuiet } from '../kill/quiet.ts'
import { pause } from './calls.ts'
import type { Installation } from './installation.ts'

export interface Settled {
  /** Payments and refunds whose end was not known when the faults ended. */
  openBefore: number
  openAfter: number
  /** Looks that the janitor took at everything open. */
  rounds: number
  quiet: Quiet
  ms: number
}

/**
 * Longer than MercadoPago's search may lag behind and than a request may be on its way to Transbank; shorter than
 * the five minutes by which clocks of signers and receivers may differ.
 */
const skippedMs = 150_000
const mostRounds = 8
const roundDeadlineMs = 120_000
const quietDeadlineMs = 180_000
const pollMs = 200

/** Lets everything come to its end: time passes, and the janitor looks at all that is open until nothing is. */
export async function settle(installation: Installation): Promise<Settled> {
  const startedAt = performance.now()
  const openBefore = await countOpen(installation)
  await waitForCalls(installation)
  await installation.clock.skip(installation.api, installation.sandbox, skippedMs)
  let rounds = 0
  let openAfter: number
  do {
    await lookAtAll(installation)
    rounds += 1
    openAfter = await countOpen(installation)
  } while (openAfter > 0 && rounds < mostRounds)
  await reconcile(installation)
  const quiet = await waitUntilQuiet(installation, quietDeadlineMs)
  return { openBefore, openAfter, rounds, quiet, ms: Math.round(performance.now() - startedAt) }
}

async function countOpen({ api }: Installation): Promise<number> {
  const [row] = await api.query(`
    select (select count(*) from payments where operation is not null or status = 'unknown')
      + (select count(*) from payment_refunds where status in ('pending', 'unknown')) as count`)
  return Number(row?.['count'])
}

/** What the last killed process was doing is leased to it for a while. */
async function waitForCalls({ api }: Installation): Promise<void> {
  await waitForNone(api, `select 1 from work where lane <> '*' and lease_until > now()`)
}

/** The janitor looks whenever `check_at` says: now, at every payment that it would look at some day. */
async function lookAtAll({ api }: Installation): Promise<void> {
  await api.query(`update payments set check_at = 'epoch' where check_at is not null`)
  await waitForNone(
    api,
    `select 1 from payments where check_at = 'epoch' union all
     select 1 from work join jobs on jobs.id = work.ref where jobs.name = 'payments.check_payment'`,
  )
}

async function waitForNone(api: Installation['api'], sql: string): Promise<void> {
  await eventually(async () => {
    const [row] = await api.query(`${sql} limit 1`)
    if (row === undefined) return true
    await pause(pollMs)
    return false
  }, roundDeadlineMs)
}

/** What was done at the providers by hand and told by nobody is found by comparing. */
async function reconcile({ admin, shops }: Installation): Promise<void> {
  for (const { tenantId, provider } of [...shops.usual, ...shops.holding]) {
    const wish = { tenant_id: tenantId, provider }
    const { id } = await eventually(() => admin.ok<{ id: string }>('POST', '/payments/reconciliations', wish))
    await eventually(async () => {
      const { state } = await admin.ok('GET', `/payments/reconciliations/${id}`)
      if (state === 'running') await pause(pollMs)
      return state !== 'running'
    }, roundDeadlineMs)
  }
}
