import { type Kysely, sql } from 'kysely'
import { z } from 'zod'
import { batchSize, deleteInBatches } from '#core/batches.ts'
import type { Context } from '#core/context.ts'
import { firstIdOf } from '#core/ids.ts'
import type { JobDefinition } from '#core/module.ts'
import type { PaymentsTables } from './tables.ts'

const dayMs = 24 * 60 * 60 * 1000
const reconciliationsKeptDays = 90
const nothing = z.strictObject({})

type Db = Kysely<PaymentsTables>

/** Payments stay. Calls and answers go after PIPECORE_PAYMENT_LOG_KEPT_DAYS, reconciliations after 90. */
export const forgetPaymentLog: JobDefinition<z.infer<typeof nothing>> = {
  name: 'payments.forget_log',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 900,
  schedule: '22 3 * * *',
  run: async (context) => {
    const { system } = context.database
    const oldestLog = firstIdOf('plg', daysAgo(context, context.config.paymentLogKeptDays))
    await deleteInBatches(() => deleteLog(system, oldestLog))
    const oldestReconciliation = firstIdOf('rec', daysAgo(context, reconciliationsKeptDays))
    await deleteInBatches(() => deleteReconciliations(system, oldestReconciliation))
  },
}

function daysAgo(context: Context, days: number): Date {
  return new Date(context.now().getTime() - days * dayMs)
}

/** What reconciliation told stays with the payment: it is how the same is not told again. */
async function deleteLog(db: Db, firstKeptId: string): Promise<number> {
  const { rows } = await sql`
    delete from payment_log where id in (
      select id from payment_log where id < ${firstKeptId} and action <> 'drift_detected' limit ${batchSize})
    returning id`.execute(db)
  return rows.length
}

async function deleteReconciliations(db: Db, firstKeptId: string): Promise<number> {
  const { rows } = await sql`
    delete from payment_reconciliations where id in (
      select id from payment_reconciliations where id < ${firstKeptId} and state <> 'running' limit ${batchSize})
    returning id`.execute(db)
  return rows.length
}
