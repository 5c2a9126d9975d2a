import { z } from 'zod'
import { inputError } from '../providers/simulator.ts'
import type { BrowserStep, PayResult } from './simulator.ts'
import type { Transbank, TransbankAccount } from './transbank-account.ts'
import { declineReasons, findCard, usualDeclines } from './transbank-cards.ts'
import type { TestCard } from './transbank-cards.ts'
import type { Inscription } from './transbank-inscriptions.ts'
import { phaseOf } from './transbank-webpay.ts'
import type { WebpayTransaction } from './transbank-webpay.ts'

const paySchema = z.strictObject({
  /** The token of Webpay or of an inscription. */
  id: z.string().toLowerCase(),
  choice: z.enum(['approve', 'decline', 'abort', 'abort_bank', 'time_out', 'broken_form', 'close_tab']),
  /** A test card decides by itself: one that declines makes `approve` a decline. */
  card: z
    .string()
    .refine((number) => findCard(number) !== undefined, 'must be one of Transbank’s test cards')
    .optional(),
  installments: z.coerce.number().int().min(0).max(48).optional(),
  /** The `response_code` of a decline. */
  reason: z.coerce.number().int().optional(),
  /** How the browser comes back, where it is not as in integration. */
  method: z.enum(['GET', 'POST']).optional(),
})

type Payment = z.infer<typeof paySchema>

/** What the customer does on a page of Transbank. Throws ZodError on bad input. */
export function payTransbank(transbank: Transbank, input: unknown): PayResult {
  const payment = paySchema.parse(input)
  const transaction = transbank.transactions.get(payment.id)
  if (transaction) return payWebpay(transbank, transaction, payment)
  const inscription = transbank.inscriptions.get(payment.id)
  if (inscription) return payInscription(transbank, inscription, payment)
  throw inputError('id', 'no such page')
}

function payWebpay(transbank: Transbank, transaction: WebpayTransaction, payment: Payment): PayResult {
  const phase = phaseOf(transbank, transaction)
  const { choice } = payment
  const leave = (next: WebpayTransaction['phase'], step: BrowserStep, state: string = next): PayResult => {
    end(transbank, transaction)
    transaction.phase = next
    return { state, next: { ...step, method: payment.method ?? step.method } }
  }
  const { sent, token_ws, TBK_TOKEN } = stepsOf(transaction)
  if (phase === 'timed_out') return leave('timed_out', sent('GET', {}))
  if (phase !== 'open') {
    // The browser’s back button, after all was over: the form can’t go on.
    if (choice === 'broken_form') return leave(phase, sent('POST', { ...token_ws, ...TBK_TOKEN }))
    throw inputError('id', `the page is closed: ${phase}`)
  }
  if (choice === 'close_tab') return { state: 'open', next: null }
  if (choice === 'time_out') return leave('timed_out', sent('GET', {}))
  if (choice === 'abort') return leave('aborted', sent('POST', TBK_TOKEN))
  if (choice === 'broken_form') return leave('broken', sent('POST', { ...token_ws, ...TBK_TOKEN }))
  const back: BrowserStep = { method: 'GET', url: transaction.returnUrl, fields: token_ws }
  if (choice === 'abort_bank') return leave('bank_aborted', back)
  chooseCard(transaction, payment)
  return leave('paid', back, transaction.responseCode === 0 ? 'paid' : 'declined')
}

/** The parts of which the four returns of Webpay are made. */
function stepsOf({ token, order, sessionId, returnUrl }: WebpayTransaction) {
  const both = { TBK_ORDEN_COMPRA: order, TBK_ID_SESION: sessionId }
  const sent = (method: BrowserStep['method'], tokens: Record<string, string>): BrowserStep => ({
    method,
    url: returnUrl,
    fields: { ...tokens, ...both },
  })
  return { sent, token_ws: { token_ws: token }, TBK_TOKEN: { TBK_TOKEN: token } }
}

function end(transbank: Transbank, page: WebpayTransaction | Inscription): void {
  transbank.openTokens.delete(page.token)
  if (page.phase === 'open') page.endedAtMs = transbank.world.now().getTime()
}

function chooseCard(transaction: WebpayTransaction, payment: Payment): void {
  const { account, sales } = transaction
  const { card, responseCode } = readCard(account, payment)
  const installments = payment.installments ?? 0
  if (account.isDeferred && (card.kind !== 'credit' || installments > 1)) {
    throw inputError('card', 'a commerce of deferred capture takes credit cards only, without instalments')
  }
  transaction.card = card
  transaction.responseCode = responseCode
  if (payment.installments === undefined) return
  for (const sale of sales) sale.installments = card.kind === 'credit' && installments > 1 ? installments : 0
}

const APPROVING_CARD = '4051885600446623'
const DECLINING_CARD = '5186059559590568'

function readCard(account: TransbankAccount, payment: Payment): { card: TestCard; responseCode: number } {
  const usual = payment.choice === 'approve' ? APPROVING_CARD : DECLINING_CARD
  const card = findCard(payment.card ?? usual)!
  const reason = payment.reason ?? usualDeclines[account.responseLevel]
  if (!Object.hasOwn(declineReasons[account.responseLevel], String(reason))) {
    const codes = Object.keys(declineReasons[account.responseLevel]).join(', ')
    throw inputError('reason', `response codes of this commerce are ${codes}`)
  }
  return { card, responseCode: payment.choice === 'approve' && card.isApproved ? 0 : reason }
}

function payInscription(transbank: Transbank, inscription: Inscription, payment: Payment): PayResult {
  const { token, username, responseUrl } = inscription
  const phase = phaseOf(transbank, inscription)
  const leave = (next: Inscription['phase'], step: Omit<BrowserStep, 'url'>): PayResult => {
    end(transbank, inscription)
    inscription.phase = next
    return { state: next, next: { url: responseUrl, ...step, method: payment.method ?? step.method } }
  }
  const plain = { method: 'GET', fields: { TBK_TOKEN: token } } as const
  if (phase === 'timed_out') return leave('timed_out', plain)
  if (phase !== 'open') throw inputError('id', `the page is closed: ${phase}`)
  const { choice } = payment
  if (choice === 'close_tab') return { state: 'open', next: null }
  if (choice === 'time_out') return leave('timed_out', plain)
  if (choice === 'abort') {
    const fields = { TBK_TOKEN: token, TBK_ORDEN_COMPRA: token.slice(0, 26), TBK_ID_SESION: username }
    return leave('aborted', { method: 'POST', fields })
  }
  if (choice !== 'approve' && choice !== 'decline') {
    throw inputError('choice', 'an inscription knows approve, decline, abort, time_out and close_tab')
  }
  const { card, responseCode } = readCard(inscription.account, payment)
  inscription.card = card
  return leave(responseCode === 0 ? 'enrolled' : 'declined', plain)
}
