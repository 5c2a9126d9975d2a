import { accountRoutes } from './stripe-account-calls.ts'
import { balanceRoutes } from './stripe-balance.ts'
import { chargeRoutes } from './stripe-charges.ts'
import { checkoutRoutes } from './stripe-checkout.ts'
import { customerRoutes } from './stripe-customers.ts'
import { disputeRoutes } from './stripe-disputes.ts'
import { endpointRoutes } from './stripe-endpoints.ts'
import { unknownUrl } from './stripe-errors.ts'
import { intentRoutes } from './stripe-intents.ts'
import { invoiceRoutes } from './stripe-invoices.ts'
import { methodRoutes } from './stripe-methods.ts'
import { planRoutes } from './stripe-plans.ts'
import { refundRoutes } from './stripe-refunds.ts'
import type { Route, Routes } from './stripe-route.ts'
import { searchRoutes } from './stripe-search.ts'
import { setupRoutes } from './stripe-setups.ts'
import { subscriptionChangeRoutes } from './stripe-subscription-changes.ts'
import { subscriptionRoutes } from './stripe-subscriptions.ts'

const routes: Routes = {
  ...accountRoutes,
  ...balanceRoutes,
  ...chargeRoutes,
  ...checkoutRoutes,
  ...customerRoutes,
  ...disputeRoutes,
  ...endpointRoutes,
  ...intentRoutes,
  ...invoiceRoutes,
  ...methodRoutes,
  ...planRoutes,
  ...refundRoutes,
  ...searchRoutes,
  ...setupRoutes,
  ...subscriptionChangeRoutes,
  ...subscriptionRoutes,
}

const byPath = new Map(Object.entries(routes))
const words = new Set(Object.keys(routes).flatMap((key) => key.split(' ')[1]!.split('/')))

/** The route of a call below `/v1/`, and the id in its path. */
export function findRoute(method: string, path: string): { route: Route; id: string } {
  const parts = path
    .split('/')
    .slice(2)
    .filter((part) => part !== '')
  const id = parts.find((part) => !words.has(part)) ?? ''
  const route = byPath.get(`${method} ${parts.map((part) => (words.has(part) ? part : ':id')).join('/')}`)
  if (!path.startsWith('/v1/') || !route) throw unknownUrl(method, path)
  return { route, id: decodeURIComponent(id) }
}
