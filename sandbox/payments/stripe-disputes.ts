import { z } from 'zod'
import { addMovement } from './stripe-balance.ts'
import { invalidRequest } from './stripe-errors.ts'
import { emit } from './stripe-events.ts'
import { listRoute } from './stripe-lists.ts'
import type { Charge, Dispute } from './stripe-objects.ts'
import { boolean, changeMetadata, metadata } from './stripe-params.ts'
import { route } from './stripe-route.ts'
import type { Routes } from './stripe-route.ts'
import { addObject, createId, getObject } from './stripe-state.ts'
import type { Work } from './stripe-state.ts'

const ANSWER_WITHIN_SECONDS = 9 * 24 * 60 * 60
const closed = ['won', 'lost', 'warning_closed', 'prevented']

/** The customer's bank takes the money back for now. */
export function openDispute(work: Work, charge: Charge, reason: string): Dispute {
  const dispute: Dispute = {
    id: createId('dp'),
    object: 'dispute',
    amount: charge.amount_captured - charge.amount_refunded,
    charge: charge.id,
    created: work.at,
    currency: charge.currency,
    evidence: {},
    evidence_details: {
      due_by: work.at + ANSWER_WITHIN_SECONDS,
      has_evidence: false,
      past_due: false,
      submission_count: 0,
    },
    is_charge_refundable: false,
    livemode: work.account.livemode,
    metadata: {},
    payment_intent: charge.payment_intent,
    reason,
    status: 'needs_response',
  }
  addObject(work, dispute, [charge.id, charge.payment_intent])
  charge.disputed = true
  moveMoney(work, dispute, -dispute.amount)
  emit(work, 'charge.dispute.created', dispute)
  emit(work, 'charge.dispute.funds_withdrawn', dispute)
  return dispute
}

/** Any status of Stripe's, or none of them: `won` gives the money back. */
export function changeDispute(work: Work, dispute: Dispute, status: string): Dispute {
  const previous = { status: dispute.status }
  dispute.status = status
  if (status === 'won') moveMoney(work, dispute, dispute.amount)
  emit(work, closed.includes(status) ? 'charge.dispute.closed' : 'charge.dispute.updated', dispute, previous)
  return dispute
}

function moveMoney(work: Work, { currency, charge }: Dispute, amount: number): void {
  addMovement(work, { type: 'adjustment', amount, currency, source: charge, description: 'Chargeback' })
}

const answered = z.strictObject({
  evidence: z.record(z.string(), z.string()).optional(),
  submit: boolean.optional(),
  metadata,
})

export const disputeRoutes: Routes = {
  'GET disputes': listRoute<Dispute>('dispute', 'disputes', { parents: ['payment_intent', 'charge'] }),
  'GET disputes/:id': route('read', z.strictObject({}), ({ account }, _, id) =>
    getObject(account, 'dispute', id),
  ),
  'POST disputes/:id': route('method', answered, (work, params, id) => {
    const dispute = getOpen(work, id)
    dispute.evidence = { ...dispute.evidence, ...params.evidence }
    dispute.evidence_details.has_evidence = Object.keys(dispute.evidence).length > 0
    dispute.metadata = changeMetadata(dispute.metadata, params.metadata)
    if (params.submit === false) return changeDispute(work, dispute, dispute.status)
    dispute.evidence_details.submission_count += 1
    return changeDispute(work, dispute, 'under_review')
  }),
  'POST disputes/:id/close': route('method', z.strictObject({}), (work, _, id) =>
    changeDispute(work, getOpen(work, id), 'lost'),
  ),
}

function getOpen({ account }: Work, id: string): Dispute {
  const dispute = getObject<Dispute>(account, 'dispute', id)
  if (closed.includes(dispute.status)) throw invalidRequest('This dispute is already closed')
  return dispute
}
