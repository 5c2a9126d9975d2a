import { createClient } from '../harness.ts'
import type { Installation } from './installation.ts'
import type { ProviderId } from './plan.ts'

export interface PaymentView {
  id: string
  tenant_id: string
  provider: ProviderId
  status: string
  amount: number
  captured: number
  refunded: number
  reference: string | null
  under_way: { operation: string; state: string } | null
}

export interface RefundView {
  id: string
  paymentId: string
  status: string
  amount: number
}

export interface EventView {
  id: string
  type: string
  paymentId: string
  refundId: string | undefined
  /** What a comparison found to be different. */
  drift: string | undefined
  /** Exactly what was signed. */
  text: string
}

/** What the provider's own books say of a payment. */
export interface Totals {
  authorized: number
  charged: number
  refunded: number
  voided: number
  charges: number
  refunds: number
}

/** Everything that PipeCore, the backend and one provider remember once all is settled. */
export interface Facts {
  payments: PaymentView[]
  refunds: Map<string, RefundView[]>
  events: EventView[]
  /** By payment id. */
  books: Map<string, Totals>
  /** Calls to the provider by how they ended. */
  calls: Record<string, number>
  /** Payments with a call that ended unknown. */
  unknown: number
}

export async function collectFacts(installation: Installation, provider: ProviderId): Promise<Facts> {
  const { api, shops } = installation
  const own = [...shops.usual, ...shops.holding].filter((shop) => shop.provider === provider)
  const tenants = own.map(({ tenantId }) => tenantId)
  const payments: PaymentView[] = []
  for (const tenantId of tenants) payments.push(...(await readPayments(installation, tenantId)))
  const calls = await api.query(
    `select outcome, count(*)::int as count, count(distinct subject)::int as payments from payment_log
     where provider = $1 and outcome is not null and action not like 'read%' group by outcome`,
    [provider],
  )
  return {
    payments,
    refunds: await readRefunds(installation, tenants),
    events: await readEvents(installation, tenants),
    books: await readBooks(installation, provider),
    calls: Object.fromEntries(calls.map((row) => [String(row['outcome']), Number(row['count'])])),
    unknown: Number(calls.find((row) => row['outcome'] === 'unknown')?.['payments'] ?? 0),
  }
}

async function readPayments({ api, key }: Installation, tenantId: string): Promise<PaymentView[]> {
  const client = createClient(api.url, key)
  const payments: PaymentView[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = `tenant_id=${tenantId}&limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`
    const page: { data: PaymentView[]; next_cursor: string | null } = await client.ok(
      'GET',
      `/payments?${query}`,
    )
    payments.push(...page.data)
    cursor = page.next_cursor
  }
  return payments
}

async function readRefunds(
  { api }: Installation,
  tenants: readonly string[],
): Promise<Map<string, RefundView[]>> {
  const rows = await api.query(
    'select id, payment_id, status, amount from payment_refunds where tenant_id = any ($1)',
    [tenants],
  )
  const refunds = rows.map((row) => ({
    id: String(row['id']),
    paymentId: String(row['payment_id']),
    status: String(row['status']),
    amount: Number(row['amount']),
  }))
  return Map.groupBy(refunds, ({ paymentId }) => paymentId)
}

async function readEvents({ api }: Installation, tenants: readonly string[]): Promise<EventView[]> {
  const rows = await api.query(
    `select e.id, e.type, e.body, extract(epoch from e.occurred_at - p.created_at) * 1000 as age_ms
     from events e left join payments p on p.id = e.entity where e.tenant_id = any ($1)`,
    [tenants],
  )
  return rows.flatMap((row) => {
    const text = String(row['body'])
    const body = JSON.parse(text) as EventBody
    const { payment_id: paymentId, refund_id: refundId } = body
    if (paymentId === undefined) return []
    const drift = justEnded(body, Number(row['age_ms'])) ? undefined : body.drift
    return [{ id: String(row['id']), type: String(row['type']), paymentId, refundId, drift, text }]
  })
}

interface EventBody {
  payment_id?: string
  refund_id?: string
  drift?: string
  found?: string
}

const minuteMs = 60_000
/** Transbank's form and the bank's page after it. */
const openPageMs = 15 * minuteMs

/** A page that ended between the janitor's last look and the comparison is news to both of them. */
function justEnded({ drift, found }: EventBody, ageMs: number): boolean {
  return (
    drift === 'status_moved' && found === 'expired' && ageMs >= openPageMs && ageMs < openPageMs + minuteMs
  )
}

async function readBooks({ sandbox }: Installation, provider: ProviderId): Promise<Map<string, Totals>> {
  const { totals } = await sandbox.control<{ totals: Record<string, Totals> }>(
    'GET',
    `/ledger?provider=${provider}&limit=1`,
  )
  // Transbank has no room for the whole id.
  const nameOf = (reference: string) => (provider === 'transbank' ? `pay_${reference}` : reference)
  return new Map(Object.entries(totals).map(([reference, sums]) => [nameOf(reference), sums]))
}
