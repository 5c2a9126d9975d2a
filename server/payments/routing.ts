import type { Kysely } from 'kysely'
import { openRoute, recallRoute, type RecentRoute } from '#connections'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { type Account, openAccount, toAccount } from './accounts.ts'
import { openMethod } from './methods/saved-methods.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { MethodChoice, PaymentProvider } from './providers/provider.ts'

export interface RouteWish {
  provider?: string | undefined
  currency: string
  method_id?: string | undefined
  token?: string | undefined
}

export interface Route {
  account: Account
  saved?: Extract<MethodChoice, { kind: 'saved' }>
}

/**
 * The account that takes a payment: the saved method's own, the provider named, or the tenant's first that can.
 * @throws PipeError 422 `connection_missing`, `method_unusable`, 404 `payment_method_not_found`
 */
export async function routePayment(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  wish: RouteWish,
): Promise<Route> {
  if (wish.method_id !== undefined) {
    const method = await openMethod(context, db, scope, wish.method_id)
    return { account: await openAccount(context, db, scope, method.row), saved: method.choice }
  }
  return { account: await routeAccount(context, db, scope, wish, (provider) => fits(provider, wish)) }
}

/** The tenant's first account that fits, or that of the provider named. */
export async function routeAccount(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { provider: named }: Pick<RouteWish, 'provider'>,
  suits: (provider: PaymentProvider) => boolean,
): Promise<Account> {
  if (named !== undefined) requirePaymentProvider(named)
  const connection = await openRoute(context, db, scope, 'payments', {
    accepts: (id) => (named === undefined ? suits(requirePaymentProvider(id)) : id === named),
    findProvider: requirePaymentProvider,
    advice: 'Set one with POST /payments/config/provider.',
  })
  return toAccount(context, scope, connection)
}

/** The account that `routePayment` chose lately for such a payment: to be used only while its route stands. */
export function recallAccount(
  context: Context,
  scope: TenantScope,
  wish: RouteWish,
): { account: Account; route: RecentRoute } | undefined {
  if (wish.method_id !== undefined) return undefined
  const accepts = (id: string) =>
    wish.provider === undefined ? fits(requirePaymentProvider(id), wish) : id === wish.provider
  const route = recallRoute(context, scope, 'payments', { accepts })
  return route && { account: toAccount(context, scope, route.connection), route }
}

function fits({ capabilities }: PaymentProvider, wish: RouteWish): boolean {
  return capabilities.wire[wish.currency] !== undefined && (wish.token === undefined || capabilities.tokens)
}
