import type { PaymentStatus } from './providers/provider.ts'

const open: readonly PaymentStatus[] = ['requires_action', 'pending', 'processing', 'unknown']
const without: readonly PaymentStatus[] = ['failed', 'canceled', 'expired']

/** It has come to no end yet and no money is held. */
export function isOpen(status: PaymentStatus): boolean {
  return open.includes(status)
}

/** It ended and no money was taken. */
export function isWithoutMoney(status: PaymentStatus): boolean {
  return without.includes(status)
}

/**
 * Whether what a provider says now moves a payment on. What was read earlier may arrive later, so nothing goes
 * back: taken money stays taken (refunds and disputes are amounts, not statuses), and an end without money gives
 * way only to money, and held money that was let go is not held again.
 */
export function advances(current: PaymentStatus, seen: PaymentStatus, wasAuthorized = false): boolean {
  if (current === seen || seen === 'unknown' || current === 'confirmed') return false
  if (isOpen(current) || seen === 'confirmed') return true
  if (current === 'authorized') return isWithoutMoney(seen)
  return seen === 'authorized' && !wasAuthorized
}
