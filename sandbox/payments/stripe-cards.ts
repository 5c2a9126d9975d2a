import type { CardDetails } from './stripe-objects.ts'

export type Decline = { code: string; declineCode?: string; message: string; adviceCode?: string }

/** What a test card does, each at its own moment. */
export type CardBehaviour = {
  number: string
  decline?: Decline
  /** `attach`: already when it is saved; `charge`: only when money is taken. */
  declinesAt?: 'attach' | 'charge'
  /** `unless_set_up` lets a card that was set up be charged without the customer. */
  authentication?: 'always' | 'unless_set_up'
  dispute?: 'fraudulent' | 'product_not_received'
  refund?: 'pending' | 'fails'
}

const declined = 'Your card was declined.'

const declines: Record<string, Decline> = {
  generic_decline: { code: 'card_declined', declineCode: 'generic_decline', message: declined },
  insufficient_funds: {
    code: 'card_declined',
    declineCode: 'insufficient_funds',
    message: 'Your card has insufficient funds.',
    adviceCode: 'try_again_later',
  },
  lost_card: {
    code: 'card_declined',
    declineCode: 'lost_card',
    message: declined,
    adviceCode: 'do_not_try_again',
  },
  stolen_card: {
    code: 'card_declined',
    declineCode: 'stolen_card',
    message: declined,
    adviceCode: 'do_not_try_again',
  },
  do_not_honor: { code: 'card_declined', declineCode: 'do_not_honor', message: declined },
  fraudulent: {
    code: 'card_declined',
    declineCode: 'fraudulent',
    message: declined,
    adviceCode: 'do_not_try_again',
  },
  expired_card: { code: 'expired_card', message: 'Your card has expired.', adviceCode: 'do_not_try_again' },
  incorrect_cvc: {
    code: 'incorrect_cvc',
    message: "Your card's security code is incorrect.",
  },
  processing_error: {
    code: 'processing_error',
    message: 'An error occurred while processing your card. Try again in a little bit.',
    adviceCode: 'try_again_later',
  },
  authentication_required: {
    code: 'authentication_required',
    declineCode: 'authentication_required',
    message: 'Your card was declined. This transaction requires authentication.',
  },
}

/** Reasons a customer's card can be declined for, as choices of a page. */
export const declineReasons = Object.keys(declines).filter((reason) => reason !== 'authentication_required')

export function declineOf(reason: string): Decline {
  return declines[reason] ?? { code: 'card_declined', declineCode: reason, message: declined }
}

type TestCard = Omit<CardBehaviour, 'decline'> & {
  country: string
  brand: string
  funding: CardDetails['funding']
  declines?: string
  /** After `pm_card_` and `tok_`. */
  names: string[]
}

const plain = { country: 'US', brand: 'visa', funding: 'credit' } as const

const testCards: TestCard[] = [
  { ...plain, number: '4242424242424242', names: ['visa', 'us'] },
  { ...plain, number: '4000056655665556', funding: 'debit', names: ['visa_debit', 'visaDebit'] },
  { ...plain, number: '5555555555554444', brand: 'mastercard', names: ['mastercard'] },
  {
    ...plain,
    number: '5200828282828210',
    brand: 'mastercard',
    funding: 'debit',
    names: ['mastercard_debit'],
  },
  {
    ...plain,
    number: '5105105105105100',
    brand: 'mastercard',
    funding: 'prepaid',
    names: ['mastercard_prepaid'],
  },
  { ...plain, number: '378282246310005', brand: 'amex', names: ['amex'] },
  { ...plain, number: '4000001520000001', country: 'CL', names: ['cl'] },
  { ...plain, number: '4000001700000003', country: 'CO', names: ['co'] },
  { ...plain, number: '4000004840008001', country: 'MX', names: ['mx'] },
  { ...plain, number: '4000000320000021', country: 'AR', names: ['ar'] },
  { ...plain, number: '4000000760000002', country: 'BR', names: ['br'] },
  { ...plain, number: '4000006040000068', country: 'PE', names: ['pe'] },
  { ...plain, number: '4000008580000003', country: 'UY', names: ['uy'] },
  { ...plain, number: '4000002180000000', country: 'EC', names: ['ec'] },
  { ...plain, number: '4000006000000066', country: 'PY', names: ['py'] },
  { ...plain, number: '4000005910000000', country: 'PA', names: ['pa'] },
  { ...plain, number: '4000001880000005', country: 'CR', names: ['cr'] },
  bad('4000000000000002', 'generic_decline', ['chargeDeclined', 'visa_chargeDeclined']),
  bad('4000000000009995', 'insufficient_funds', declinedNames('InsufficientFunds')),
  bad('4000000000009987', 'lost_card', declinedNames('LostCard')),
  bad('4000000000009979', 'stolen_card', declinedNames('StolenCard')),
  bad('4000000000000069', 'expired_card', declinedNames('ExpiredCard')),
  bad('4000000000000127', 'incorrect_cvc', declinedNames('IncorrectCvc')),
  bad('4000000000000119', 'processing_error', declinedNames('ProcessingError')),
  bad('4100000000000019', 'fraudulent', ['radarBlock', 'chargeDeclinedFraudulent']),
  {
    ...bad('4000000000000341', 'generic_decline', ['chargeCustomerFail', 'visa_chargeCustomerFail']),
    declinesAt: 'charge',
  },
  {
    ...plain,
    number: '4000002500003155',
    authentication: 'unless_set_up',
    names: ['authenticationRequiredOnSetup', 'authenticationRequiredSetupForOffSession'],
  },
  { ...plain, number: '4000002760003184', authentication: 'always', names: ['authenticationRequired'] },
  {
    ...plain,
    number: '4000000000003220',
    authentication: 'always',
    names: ['threeDSecure2Required', 'threeDSecureRequired'],
  },
  {
    ...bad('4000008260003178', 'insufficient_funds', [
      'authenticationRequiredChargeDeclinedInsufficientFunds',
    ]),
    authentication: 'always',
    declinesAt: 'charge',
  },
  {
    ...bad('4000008400001629', 'generic_decline', ['threeDSecureRequiredChargeDeclined']),
    authentication: 'always',
    declinesAt: 'charge',
  },
  { ...plain, number: '4000000000000259', dispute: 'fraudulent', names: ['createDispute'] },
  {
    ...plain,
    number: '4000000000002685',
    dispute: 'product_not_received',
    names: ['createDisputeProductNotReceived'],
  },
  { ...plain, number: '4000000000007726', refund: 'pending', names: ['pendingRefund'] },
  { ...plain, number: '4000000000005126', refund: 'fails', names: ['refundFail'] },
]

const byWord = new Map(
  testCards.flatMap((card) => [
    [card.number, card] as const,
    ...card.names.flatMap((name) => [[`pm_card_${name}`, card] as const, [`tok_${name}`, card] as const]),
  ]),
)

/** A test card by its number, `pm_card_…` or `tok_…`. */
export function findTestCard(word: string): { behaviour: CardBehaviour; details: CardDetails } | undefined {
  const card = byWord.get(word.replaceAll(/[ -]/g, ''))
  if (!card) return undefined
  const { country, brand, funding, declines: reason, names: _, ...behaviour } = card
  return {
    behaviour: { ...behaviour, ...(reason === undefined ? {} : { decline: declineOf(reason) }) },
    details: {
      brand,
      country,
      exp_month: 12,
      exp_year: 2034,
      fingerprint: `sandbox${card.number.slice(-9)}`,
      funding,
      last4: card.number.slice(-4),
    },
  }
}

function bad(number: string, declines: string, names: string[]): TestCard {
  return { ...plain, number, declines, declinesAt: 'attach', names }
}

function declinedNames(name: string): string[] {
  return [`chargeDeclined${name}`, `visa_chargeDeclined${name}`]
}
