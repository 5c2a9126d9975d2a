import { writeAmount } from './money.ts'
import type { LogRow } from './queries.ts'

/** What a step of the story speaks of. */
export interface Subject {
  /** The provider, as people write it. */
  title: string
  currency: string
  capture: 'automatic' | 'manual'
}

type Ask = (subject: Subject, money: string) => string

const asks: Readonly<Record<string, Ask>> = {
  create_payment: ({ title, capture }, money) =>
    `Asked ${title} to ${capture === 'manual' ? 'hold' : 'take'} ${money}.`,
  create_checkout: ({ title }, money) => `Asked ${title} for a page where the customer pays ${money}.`,
  confirm_payment: ({ title }, money) => `Confirmed to ${title} that the customer pays ${money}.`,
  capture_payment: ({ title }, money) => `Asked ${title} to take ${money} of what it holds.`,
  cancel_payment: ({ title }) => `Asked ${title} to cancel the payment.`,
  refund_payment: ({ title }, money) => `Asked ${title} to give ${money} back.`,
}

/** Whether an entry is a call that acts: it is written down before it is made. */
export function isAct({ action }: Pick<LogRow, 'action'>): boolean {
  return Object.hasOwn(asks, action)
}

/** Whether it is a call that only reads: it is written down when it has ended. */
export function isReading({ action }: Pick<LogRow, 'action'>): boolean {
  return action === 'read_payment'
}

/** What an entry of the log means, for a person: what we asked, what we saw, what we decided. */
export function describeEntry(entry: LogRow, subject: Subject): string {
  const { action, amount, outcome, note } = entry
  const ask = asks[action]
  if (ask !== undefined) {
    const money = `${subject.currency} ${writeAmount(amount ?? 0, subject.currency)}`
    return ask(subject, money) + (outcome === null ? ' Its answer was not seen.' : '')
  }
  const words = note ?? `${capitalize(action.replaceAll('_', ' '))}.`
  return isReading(entry) ? `Asked ${subject.title} how the payment stands. ${words}` : words
}

/** How a call ended; undefined for one whose end nobody saw. */
export function describeAnswer({ outcome, note }: LogRow, { title }: Subject): string | undefined {
  if (outcome === null) return undefined
  if (outcome === 'done') return `${title} answered: ${(note ?? 'done.').replace('It says: ', '')}`
  const said = (note ?? 'no reason was given').replace(`${title}: `, '').replace(/\.?$/, '.')
  if (outcome === 'refused') return `${title} did not do it: ${said}`
  return `No clear answer came from ${title}: ${said} What became of it is looked up before anything is repeated.`
}

/** What the tenant's backend was told, and whether it heard it. */
export function describeEvent(type: string, states: readonly string[]): string {
  if (states.length === 0) return `Noted ${type}; no endpoint asked to be told.`
  if (states.every((state) => state === 'delivered')) return `Told the backend: ${type}.`
  if (states.includes('pending')) return `Telling the backend: ${type}; it has not taken it yet.`
  return `Could not tell the backend: ${type}; it did not take it, and it is not tried again.`
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
