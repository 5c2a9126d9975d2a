import { type Kysely, type RawBuilder, sql } from 'kysely'
import { textArray, timestampArray } from '#core/sql-arrays.ts'
import { mayBeUnstorable, toStorable } from '#core/storable-json.ts'
import {
  allColumns,
  type CallEnd,
  findPaymentBy,
  type LogRow,
  type PaymentRow,
  type ProviderIds,
} from './queries.ts'
import type { PaymentsTables } from './tables.ts'

type Db = Kysely<PaymentsTables>

export interface PaymentWithCall {
  payment: PaymentRow
  call: LogRow
}

/**
 * Payments of one tenant with the calls that will be made for them, in one statement; see `migrations/0003_calls_again.sql`.
 * @returns whether they were stored: not where `stands` is not true
 */
export async function insertPaymentsWithCalls(
  db: Db,
  payments: readonly PaymentWithCall[],
  stands: RawBuilder<boolean> = sql<boolean>`true`,
): Promise<boolean> {
  const [rows, calls] = [payments.map(({ payment }) => payment), payments.map(({ call }) => call)]
  // As JSON: sixty parameters cost more to write and to plan than the rows to store.
  const { rows: stored } = await sql`
    select store_payments(${toJson(rows)}, ${toJson(calls)}) where ${stands}`.execute(db)
  return stored.length > 0
}

/** Of rows, for `jsonb`, which refuses half a character and NUL: a provider may have sent either. */
function toJson(rows: unknown): string {
  const text = JSON.stringify(rows)
  return mayBeUnstorable(text) ? JSON.stringify(rows, toStorable) : text
}

/** What the usual end of a call may change of its payment: what `end_calls` writes, see `migrations/0004_ends.sql`. */
const endColumns = [
  'status',
  'captured',
  'provider_payment_id',
  'provider_checkout_id',
  'method_token',
  'action',
  'method',
  'failure',
  'dispute',
  'details',
  'operation',
  'told',
  'check_at',
  'expires_at',
  'authorized_at',
  'confirmed_at',
  'ended_at',
  'updated_at',
] as const satisfies ReadonlyArray<keyof PaymentRow>

export type PaymentEndChange = Partial<Pick<PaymentRow, (typeof endColumns)[number]>>

export interface PaymentEnd {
  /** As it was read. */
  known: PaymentRow
  next: PaymentRow
  call: CallEnd
}

/**
 * Writes how calls ended, what that makes of their payments and the events that follow, in one statement, each if
 * nobody touched its payment since it was read as `known`. All are of one tenant. `record` makes what records the
 * events of those that are true in its array, in order.
 * @returns whether each was written, in order, and how many deliveries they opened together
 */
export async function endUntouched(
  db: Db,
  ends: readonly PaymentEnd[],
  record: (ended: RawBuilder<boolean[]>) => RawBuilder<number>,
): Promise<{ ended: readonly boolean[]; opened: number }> {
  const given = ends.map(({ known, next, call }) => ({
    tenant_id: known.tenant_id,
    id: known.id,
    known_operation: known.operation,
    known_status: known.status,
    known_told: known.told,
    known_updated_at: known.updated_at,
    ...Object.fromEntries(endColumns.map((name) => [name, next[name]])),
    log_id: call.logId,
    ...call.change,
  }))
  const { rows } = await sql<{ ended: boolean[]; opened: number }>`
    with calls as materialized (select end_calls(${toJson(given)}) as ended)
    select ended, ${record(sql<boolean[]>`calls.ended`)} as opened from calls`.execute(db)
  return rows[0] ?? { ended: [], opened: 0 }
}

/** All of these, which were stored together if at all. */
export async function arePaymentsStored(db: Db, tenantId: string, ids: readonly string[]): Promise<boolean> {
  const rows = await db
    .selectFrom('payments')
    .select('id')
    .where('tenant_id', '=', tenantId)
    .where('id', 'in', ids)
    .execute()
  return rows.length === ids.length
}

const logColumnNames: Record<keyof LogRow, true> = {
  id: true,
  tenant_id: true,
  subject: true,
  provider: true,
  action: true,
  outcome: true,
  note: true,
  amount: true,
  answer_status: true,
  answer: true,
  webhook_id: true,
  duration_ms: true,
  trace_id: true,
  at: true,
}
const logColumns = sql.raw(Object.keys(logColumnNames).join(', '))

export interface QuietLook {
  /** As it was before it was read at its provider. */
  known: PaymentRow
  read: LogRow
  notice: LogRow
}

/**
 * Writes down webhooks of one tenant and what was then read, which was nothing new, in one statement: each if nobody
 * touched its payment since and that has no refunds. `recordFacts` makes what records the facts of those whose places
 * its rows are, as parts of a `with`. @returns which were written, in order
 */
export async function insertQuietLooks(
  db: Db,
  looks: readonly QuietLook[],
  recordFacts: (due: RawBuilder<unknown>) => RawBuilder<unknown>,
): Promise<boolean[]> {
  const known = looks.map((look) => look.known)
  const texts = (read: (row: PaymentRow) => string) => textArray(known.map(read))
  const { rows } = await sql<{ place: number }>`
    with untouched as materialized (
      select place from unnest(
        ${texts((row) => row.tenant_id)}::text[], ${texts((row) => row.id)}::text[],
        ${texts((row) => row.status)}::text[], ${timestampArray(known.map((row) => row.updated_at))}::timestamptz[]
      ) with ordinality as known (tenant_id, id, status, updated_at, place),
      -- Each by its key: joined, all payments of the tenant are read while the table has no statistics.
      lateral (
        select from payments
        where tenant_id = known.tenant_id and id = known.id and status = known.status
          and updated_at = known.updated_at and operation is null and told
        limit 1
      ) as same
      where not exists (
        select from payment_refunds refund where refund.tenant_id = known.tenant_id and refund.payment_id = known.id)
    ),
    ${recordFacts(sql`select place from untouched`)},
    logs as (
      insert into payment_log (${logColumns})
      select ${logColumns} from jsonb_populate_recordset(null::payment_log, ${toJson(looks.map((look) => look.notice))})
        with ordinality where ordinality in (select place from new_facts)
      union all
      select ${logColumns} from jsonb_populate_recordset(null::payment_log, ${toJson(looks.map((look) => look.read))})
        with ordinality where ordinality in (select place from untouched)
      on conflict (id) do nothing
    )
    select place from untouched`.execute(db)
  const places = new Set(rows.map(({ place }) => place))
  return looks.map((_, index) => places.has(index + 1))
}

/** `findPaymentBy` of several, in order: those that the provider's own id finds are found together. */
export async function findPaymentsBy(
  db: Db,
  tenantId: string,
  provider: string,
  named: readonly ProviderIds[],
): Promise<Array<PaymentRow | undefined>> {
  const ids = named.flatMap(({ providerPaymentId }) => providerPaymentId ?? [])
  const { rows } = await sql<PaymentRow>`
    select ${allColumns} from payments
    where tenant_id = ${tenantId} and provider = ${provider}
      and provider_payment_id = any(${textArray(ids)}::text[])`.execute(db)
  const known = new Map(rows.map((row) => [row.provider_payment_id, row]))
  const found: Array<PaymentRow | undefined> = []
  for (const one of named) {
    found.push(known.get(one.providerPaymentId ?? null) ?? (await findPaymentBy(db, tenantId, provider, one)))
  }
  return found
}
