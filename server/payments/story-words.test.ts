import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LogRow } from './queries.ts'
import { describeAnswer, describeEntry, describeEvent, isAct, isReading } from './story-words.ts'

const subject = { title: 'Simulated', currency: 'CLP', capture: 'automatic' } as const

function entryOf(action: string, change: Partial<LogRow> = {}): LogRow {
  return {
    id: 'plg_1',
    tenant_id: 'tableflow_123',
    subject: 'pay_1',
    provider: 'simulated',
    action,
    outcome: 'done',
    note: null,
    amount: 15990,
    answer_status: 200,
    answer: '{}',
    webhook_id: null,
    duration_ms: 12,
    trace_id: 'trace',
    at: new Date('2026-11-22T12:00:00Z'),
    ...change,
  }
}

describe('what was asked', () => {
  for (const [action, text] of [
    ['create_payment', 'Asked Simulated to take CLP 15990.'],
    ['create_checkout', 'Asked Simulated for a page where the customer pays CLP 15990.'],
    ['confirm_payment', 'Confirmed to Simulated that the customer pays CLP 15990.'],
    ['capture_payment', 'Asked Simulated to take CLP 15990 of what it holds.'],
    ['cancel_payment', 'Asked Simulated to cancel the payment.'],
    ['refund_payment', 'Asked Simulated to give CLP 15990 back.'],
  ] as const) {
    test(`is told of ${action}`, () => {
      assert.equal(isAct({ action }), true)
      assert.equal(describeEntry(entryOf(action), subject), text)
    })
  }

  test('is to hold the money when it is captured later', () => {
    const text = describeEntry(entryOf('create_payment'), { ...subject, capture: 'manual' })
    assert.equal(text, 'Asked Simulated to hold CLP 15990.')
  })

  test('names the amount with the decimals of its currency', () => {
    const text = describeEntry(entryOf('refund_payment', { amount: 1599 }), { ...subject, currency: 'USD' })
    assert.equal(text, 'Asked Simulated to give USD 15.99 back.')
  })

  test('has no answer when the process died', () => {
    const entry = entryOf('create_payment', { outcome: null, duration_ms: null })
    assert.equal(describeEntry(entry, subject), 'Asked Simulated to take CLP 15990. Its answer was not seen.')
    assert.equal(describeAnswer(entry, subject), undefined)
  })
})

describe('what was answered', () => {
  test('is what the provider did', () => {
    assert.equal(describeAnswer(entryOf('create_payment'), subject), 'Simulated answered: done.')
    const told = entryOf('create_payment', { note: 'It says: authorized.' })
    assert.equal(describeAnswer(told, subject), 'Simulated answered: authorized.')
  })

  test('is the reason of a refusal, without the name twice', () => {
    const refused = entryOf('create_payment', { outcome: 'refused', note: 'Simulated: No such token (x_1)' })
    assert.equal(describeAnswer(refused, subject), 'Simulated did not do it: No such token (x_1).')
  })

  test('is that nobody knows', () => {
    const note = 'Simulated: the request left, then no answer came in time.'
    const unknown = entryOf('create_payment', { outcome: 'unknown', note })
    assert.equal(
      describeAnswer(unknown, subject),
      'No clear answer came from Simulated: the request left, then no answer came in time. What became of it is looked up before anything is repeated.',
    )
  })
})

describe('what was seen', () => {
  test('is a look at the provider, and why', () => {
    const read = entryOf('read_payment', { note: 'Read because a webhook spoke of it.' })
    assert.equal(isReading(read), true)
    assert.equal(
      describeEntry(read, subject),
      'Asked Simulated how the payment stands. Read because a webhook spoke of it.',
    )
    const note = 'Read by the janitor. Simulated: too many calls at once'
    const refused = entryOf('read_payment', { outcome: 'refused', note })
    assert.equal(describeEntry(refused, subject), `Asked Simulated how the payment stands. ${note}`)
  })

  test('is told in the words it was noted in', () => {
    const note = 'The provider reported payment_intent.succeeded.'
    assert.equal(describeEntry(entryOf('webhook_received', { outcome: null, note }), subject), note)
    assert.equal(describeEntry(entryOf('decided_early', { note: null }), subject), 'Decided early.')
  })
})

test('what the backend was told depends on whether it took it', () => {
  const tell = (...states: string[]) => describeEvent('payment.confirmed', states)
  assert.equal(tell('delivered', 'delivered'), 'Told the backend: payment.confirmed.')
  assert.equal(
    tell('delivered', 'pending'),
    'Telling the backend: payment.confirmed; it has not taken it yet.',
  )
  assert.equal(
    tell('delivered', 'dead'),
    'Could not tell the backend: payment.confirmed; it did not take it, and it is not tried again.',
  )
  assert.equal(tell(), 'Noted payment.confirmed; no endpoint asked to be told.')
})
