import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findDrifts } from './drifts.ts'
import type { PaymentSnapshot } from './providers/provider.ts'
import type { PaymentRow, RefundRow } from './queries.ts'

const now = new Date('2026-11-22T12:00:00Z')

function paymentOf(change: Partial<PaymentRow> = {}): PaymentRow {
  return {
    id: 'pay_1',
    tenant_id: 'tableflow_123',
    provider: 'simulated',
    connection_id: 'con_1',
    flow: 'checkout',
    status: 'confirmed',
    amount: 15990,
    currency: 'CLP',
    capture: 'automatic',
    captured: 15990,
    refunded: 0,
    provider_payment_id: 'A',
    provider_checkout_id: null,
    checkout_id: null,
    items: null,
    subscription_id: null,
    method_id: null,
    reference: null,
    description: null,
    customer: '{}',
    metadata: '{}',
    installments: 1,
    return_url: null,
    cancel_url: null,
    return_token: 'token',
    method_token: null,
    action: null,
    method: null,
    failure: null,
    dispute: null,
    details: '{}',
    windows: '{"refundDays":90}',
    operation: null,
    told: true,
    check_at: null,
    expires_at: null,
    trace_id: 'trace',
    created_at: now,
    authorized_at: null,
    confirmed_at: now,
    ended_at: now,
    updated_at: now,
    ...change,
  }
}

function refundOf(change: Partial<RefundRow> = {}): RefundRow {
  return {
    id: 'rfd_1',
    tenant_id: 'tableflow_123',
    payment_id: 'pay_1',
    provider_refund_id: 're_1',
    amount: 5000,
    status: 'succeeded',
    kind: 'refund',
    reason: null,
    reference: null,
    source: 'api',
    failure: null,
    created_at: now,
    settled_at: now,
    ...change,
  }
}

function snapshotOf(change: Partial<PaymentSnapshot> = {}): PaymentSnapshot {
  return {
    providerPaymentId: 'A',
    status: 'confirmed',
    amount: 15990,
    currency: 'CLP',
    captured: 15990,
    refunded: 0,
    ...change,
  }
}

function drift(drift: string, known: string, found: string, mends = true) {
  return { drift, known, found, mends }
}

describe('the status', () => {
  test('is no difference when both have the same, or the provider is behind', () => {
    assert.deepEqual(findDrifts(paymentOf(), [], snapshotOf()), [])
    const behind = snapshotOf({ status: 'requires_action', captured: 0 })
    assert.deepEqual(findDrifts(paymentOf(), [], behind), [])
  })

  test('differs where the provider is ahead', () => {
    const open = paymentOf({ status: 'requires_action', captured: 0 })
    assert.deepEqual(findDrifts(open, [], snapshotOf()), [
      drift('status_moved', 'requires_action', 'confirmed'),
    ])
    const late = paymentOf({ status: 'expired', captured: 0 })
    assert.deepEqual(findDrifts(late, [], snapshotOf()), [drift('status_moved', 'expired', 'confirmed')])
  })

  test('says how much was taken of a hold when it was a part', () => {
    const held = paymentOf({ status: 'authorized', capture: 'manual', captured: 0 })
    const part = snapshotOf({ captured: 9000 })
    const expected = [drift('status_moved', 'authorized', 'confirmed with CLP 9000')]
    assert.deepEqual(findDrifts(held, [], part), expected)
    // Some providers then have the part as the amount.
    assert.deepEqual(findDrifts(held, [], { ...part, amount: 9000 }), expected)
  })

  test('differs beyond mending where a confirmed payment has come to nothing there', () => {
    const gone = snapshotOf({ status: 'canceled', captured: 0 })
    assert.deepEqual(findDrifts(paymentOf(), [], gone), [
      drift('status_moved', 'confirmed', 'canceled', false),
    ])
  })

  test('is not judged by a word of the provider that nobody knows', () => {
    const open = paymentOf({ status: 'requires_action', captured: 0 })
    assert.deepEqual(findDrifts(open, [], snapshotOf({ status: 'unknown', captured: 0 })), [])
  })

  test('of a dispute counts too', () => {
    const lost = snapshotOf({ dispute: { status: 'lost' } })
    assert.deepEqual(findDrifts(paymentOf(), [], lost), [drift('status_moved', 'no dispute', 'dispute lost')])
    assert.deepEqual(findDrifts(paymentOf({ dispute: 'lost' }), [], lost), [])
  })
})

describe('the amount', () => {
  test('differs where another was taken; more can be mended, less can not', () => {
    const part = paymentOf({ capture: 'manual', captured: 9000 })
    assert.deepEqual(findDrifts(part, [], snapshotOf()), [
      drift('amount_differs', 'CLP 9000 taken', 'CLP 15990 taken'),
    ])
    assert.deepEqual(findDrifts(paymentOf(), [], snapshotOf({ captured: 9000 })), [
      drift('amount_differs', 'CLP 15990 taken', 'CLP 9000 taken', false),
    ])
  })

  test('is no difference where the provider has the captured part as the amount', () => {
    const part = paymentOf({ capture: 'manual', captured: 9000 })
    assert.deepEqual(findDrifts(part, [], snapshotOf({ captured: 9000, amount: 9000 })), [])
  })

  test('differs in its currency, written as people write it', () => {
    const dollars = snapshotOf({ currency: 'USD' })
    assert.deepEqual(findDrifts(paymentOf(), [], dollars), [
      drift('amount_differs', 'CLP 15990', 'USD 159.90', false),
    ])
  })
})

describe('refunds', () => {
  const known = refundOf()
  const listed = { providerRefundId: 're_1', amount: 5000, status: 'succeeded' } as const

  test('that are ours are no difference, known by id or as the open one of the same amount', () => {
    const refunded = paymentOf({ refunded: 5000 })
    assert.deepEqual(findDrifts(refunded, [known], snapshotOf({ refunded: 5000, refunds: [listed] })), [])
    assert.deepEqual(findDrifts(refunded, [known], snapshotOf({ refunded: 5000 })), [])
  })

  test('that were made at the provider are found in its list, each by its id', () => {
    const outside = { ...listed, providerRefundId: 're_2' }
    const seen = snapshotOf({ refunded: 10000, refunds: [listed, outside] })
    assert.deepEqual(findDrifts(paymentOf({ refunded: 5000 }), [known], seen), [
      drift('refund_outside', 'CLP 5000 given back', 'CLP 5000 more given back as re_2'),
    ])
  })

  test('that were made at the provider are found in its sum where it has no list', () => {
    const seen = snapshotOf({ refunded: 7000 })
    assert.deepEqual(findDrifts(paymentOf({ refunded: 5000 }), [known], seen), [
      drift('refund_outside', 'CLP 5000 given back', 'CLP 2000 more given back'),
    ])
  })

  test('that failed there moved no money', () => {
    const failed = { ...listed, providerRefundId: 're_2', status: 'failed' as const }
    assert.deepEqual(findDrifts(paymentOf(), [], snapshotOf({ refunds: [failed] })), [])
  })

  test('of ours whose end was missed have moved', () => {
    const pending = refundOf({ status: 'pending', settled_at: null })
    const seen = snapshotOf({ refunded: 5000, refunds: [listed] })
    const moved = drift('status_moved', 'refund rfd_1 pending', 'refund rfd_1 succeeded')
    assert.deepEqual(findDrifts(paymentOf(), [pending], seen), [moved])
    // Asked for, and its call has no known end.
    const unnamed = refundOf({ status: 'unknown', provider_refund_id: null })
    const found = drift('status_moved', 'refund rfd_1 unknown', 'refund rfd_1 succeeded')
    assert.deepEqual(findDrifts(paymentOf(), [unnamed], seen), [found])
    assert.deepEqual(findDrifts(paymentOf(), [unnamed], snapshotOf({ refunded: 5000 })), [found])
  })

  test('of the same amount are not taken for one', () => {
    const unnamed = refundOf({ status: 'pending', provider_refund_id: null })
    const second = { ...listed, providerRefundId: 're_2' }
    const seen = snapshotOf({ refunded: 10000, refunds: [listed, second] })
    assert.deepEqual(
      findDrifts(paymentOf(), [unnamed], seen).map((one) => one.drift),
      ['status_moved', 'refund_outside'],
    )
  })
})

describe('a second payment at the provider', () => {
  test('that took money for ours is paid twice', () => {
    assert.deepEqual(findDrifts(paymentOf(), [], snapshotOf(), 'B'), [
      drift('paid_twice', 'paid as A', 'paid as B too', false),
    ])
  })

  test('is the payment itself where the provider says that ours was paid with it', () => {
    const failed = paymentOf({ status: 'failed', captured: 0 })
    const late = snapshotOf({ providerPaymentId: 'B' })
    assert.deepEqual(findDrifts(failed, [], late, 'B'), [drift('status_moved', 'failed', 'confirmed')])
  })
})
