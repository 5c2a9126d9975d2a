import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { emailOf } from './mercadopago-account.ts'
import type { MercadopagoAccount } from './mercadopago-account.ts'
import { listMethods, sites } from './mercadopago-sites.ts'

/** GET /users/me: whose token it is. A test user has the tag `test_user`, and live tokens. */
export function answerUser(account: MercadopagoAccount): Reply {
  return replyJson(200, {
    id: account.userId,
    nickname: account.isTestUser ? `TESTUSER${account.userId}` : account.name.toUpperCase(),
    registration_date: '2020-01-01T00:00:00.000-04:00',
    first_name: 'Sandbox',
    last_name: 'Seller',
    country_id: sites[account.siteId].country,
    email: emailOf(account),
    site_id: account.siteId,
    user_type: 'normal',
    tags: ['normal', ...(account.isTestUser ? ['test_user'] : []), 'user_product_seller'],
    status: { site_status: 'active', confirmed_email: true },
  })
}

/** GET /v1/payment_methods */
export function answerMethods({ siteId }: MercadopagoAccount): Reply {
  const methods = listMethods(siteId).map(({ id, name, type }) => ({
    id,
    name,
    payment_type_id: type,
    status: 'active',
    deferred_capture: type === 'credit_card' ? 'supported' : 'unsupported',
    min_allowed_amount: 0,
    max_allowed_amount: 100_000_000,
  }))
  return replyJson(200, methods)
}
