import { count, forbid, type Verdict } from '../kill/verdict.ts'
import type { Facts, PaymentView, Totals } from './facts.ts'
import type { Played } from './journeys.ts'

const nothing: Totals = { authorized: 0, charged: 0, refunded: 0, voided: 0, charges: 0, refunds: 0 }

/** The provider's books say what PipeCore says: nothing was charged or refunded twice, and nothing is unknown. */
export function judgeMoney(verdict: Verdict, facts: Facts, played: readonly Played[]): void {
  judgeSales(verdict, facts, played)
  judgeCharges(verdict, facts, played)
  judgeRefunds(verdict, facts, played)
  judgeEnds(verdict, facts)
}

/** However often it was asked for, a sale is one payment. */
function judgeSales(verdict: Verdict, { payments }: Facts, played: readonly Played[]): void {
  const byReference = Map.groupBy(payments, ({ reference }) => reference)
  const doubled = [...byReference].filter(([, same]) => same.length > 1)
  const lost = played.filter(({ journey }) => !byReference.has(journey.reference))
  const mixed = played.filter(({ journey, ids }) =>
    ids.some((id) => id !== byReference.get(journey.reference)?.[0]?.id),
  )
  const nameOf = ({ journey }: Played) => journey.reference
  forbid(verdict, 'sales with two payments', doubled, ([reference]) => String(reference))
  forbid(verdict, 'sales without a payment', lost, nameOf)
  forbid(verdict, 'answers that named another payment', mixed, nameOf)
  const problems = played.flatMap((one) => one.problems.map((text) => `${nameOf(one)} ${text}`))
  forbid(verdict, 'answers that nobody should get', problems)
}

function judgeCharges(verdict: Verdict, { payments, books }: Facts, played: readonly Played[]): void {
  const bookOf = ({ id }: PaymentView) => books.get(id) ?? nothing
  const ids = new Set(payments.map(({ id }) => id))
  const describe = (payment: PaymentView) => describePayment(payment, bookOf(payment))
  count(verdict, 'charges', sum([...books.values()].map(({ charges }) => charges)))
  forbid(
    verdict,
    'double charges',
    payments.filter((payment) => bookOf(payment).charges > 1),
    describe,
  )
  forbid(
    verdict,
    'charges of no payment',
    [...books].filter(([id, { charges }]) => charges > 0 && !ids.has(id)).map(([id]) => id),
  )
  forbid(
    verdict,
    'charged, but not confirmed',
    payments.filter((payment) => bookOf(payment).charges > 0 && payment.status !== 'confirmed'),
    describe,
  )
  forbid(
    verdict,
    'confirmed, but not charged so',
    payments.filter(
      (payment) => payment.status === 'confirmed' && payment.captured !== bookOf(payment).charged,
    ),
    describe,
  )
  const agreed = new Set(played.flatMap(({ ids, isAgreed }) => (isAgreed ? ids : [])))
  forbid(
    verdict,
    'agreed by the customer, but neither held nor taken',
    payments.filter((payment) => {
      const { authorized, charged } = bookOf(payment)
      return agreed.has(payment.id) && authorized === 0 && charged === 0
    }),
    describe,
  )
  const over = ['failed', 'canceled', 'expired']
  forbid(
    verdict,
    'money still held for what has ended',
    payments.filter(({ id, status }) => {
      const { authorized, voided, charged } = books.get(id) ?? nothing
      return over.includes(status) && authorized > voided + charged
    }),
    describe,
  )
}

function judgeRefunds(
  verdict: Verdict,
  { payments, books, refunds }: Facts,
  played: readonly Played[],
): void {
  const wishes = new Map(played.map((one) => [one.ids[0], one.refundsAsked + one.refundsThere]))
  const judged = payments.map((payment) => {
    const own = refunds.get(payment.id) ?? []
    const made = own.filter(({ status }) => status === 'succeeded')
    const book = books.get(payment.id) ?? nothing
    return { payment, own, made, book, total: sum(made.map(({ amount }) => amount)) }
  })
  const describe = ({ payment, own, book }: (typeof judged)[number]) =>
    `${describePayment(payment, book)} refunds ${own.map(({ status, amount }) => `${status} ${amount}`).join(', ')}`
  count(verdict, 'refunds', sum(judged.map(({ book }) => book.refunds)))
  forbid(
    verdict,
    'double refunds',
    judged.filter(
      ({ payment, book }) => book.refunds > (wishes.get(payment.id) ?? 0) || book.refunded > book.charged,
    ),
    describe,
  )
  forbid(
    verdict,
    'refunds that the books have otherwise',
    judged.filter(
      ({ payment, made, book, total }) =>
        total !== book.refunded || payment.refunded !== book.refunded || made.length !== book.refunds,
    ),
    describe,
  )
}

function judgeEnds(verdict: Verdict, { payments, refunds, unknown, calls, books }: Facts): void {
  const open = payments.filter(({ under_way: underWay, status }) => underWay !== null || status === 'unknown')
  const openRefunds = [...refunds.values()]
    .flat()
    .filter(({ status }) => status === 'pending' || status === 'unknown')
  for (const [outcome, number] of Object.entries(calls)) count(verdict, `calls that ended ${outcome}`, number)
  count(verdict, 'payments with a call of unknown end', unknown)
  for (const [status, same] of Map.groupBy(payments, (payment) => payment.status)) {
    count(verdict, `payments ${status}`, same.length)
  }
  forbid(verdict, 'payments still unknown', open, (payment) =>
    describePayment(payment, books.get(payment.id) ?? nothing),
  )
  forbid(verdict, 'refunds still unknown', openRefunds, ({ id, paymentId, status }) =>
    [id, status, 'of', paymentId].join(' '),
  )
}

function describePayment(payment: PaymentView, book: Totals): string {
  const { reference, id, status, captured, refunded, under_way: underWay } = payment
  const ours = `${status} ${captured} −${refunded}${underWay ? ` ${underWay.operation} ${underWay.state}` : ''}`
  const held = book.authorized - book.voided - book.charged
  const theirs = `${book.charges}× ${book.charged} ${book.refunds}× −${book.refunded}${held > 0 ? ` held ${held}` : ''}`
  return `${reference} ${id}: ${ours}; books ${theirs}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
