import type { Sandbox } from '../harness.ts'
import type { ProviderId } from './plan.ts'

/** Transbank fixes by its commerce code whether money is held or taken at once. */
export type AccountKind = 'usual' | 'holding'

interface AccountWish {
  provider: ProviderId
  kind: AccountKind
  /** Every second account is one that does what papers leave open in the other way. */
  number: number
  webhookUrl: string
}

/** Opens an account at a provider; answers the credentials for PipeCore. */
export function openAccount(sandbox: Sandbox, wish: AccountWish): Promise<Record<string, unknown>> {
  const { provider, number, webhookUrl } = wish
  const isOdd = number % 2 === 0
  if (provider === 'transbank') return isOdd ? openOddTransbank(sandbox, wish) : openTransbank(wish)
  const key = provider === 'stripe' ? `sk_test_shop_${number}` : `TEST-shop-${number}-access-token`
  return openWithKey(sandbox, provider, key, { webhook_url: webhookUrl, ...(isOdd && oddities[provider]) })
}

const oddities = {
  mercadopago: {
    search_lag_ms: 15_000,
    refund_replay: 'empty',
    conflict_status: 400,
    ts_unit: 's',
    id_case: 'lowered',
  },
  stripe: { search_lag_ms: 60_000 },
}

async function openWithKey(
  sandbox: Sandbox,
  provider: 'mercadopago' | 'stripe',
  key: string,
  settings: object,
): Promise<Record<string, unknown>> {
  const account = await sandbox.control('PUT', `/accounts/${provider}/${key}`, settings)
  const webhookSecret = account['webhook_secret']
  return provider === 'stripe' ? { secretKey: key, webhookSecret } : { accessToken: key, webhookSecret }
}

/** Published by Transbank for its integration. */
const publicKey = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'
const publicCodes = {
  usual: {
    commerceCode: '597055555532',
    oneclickCommerceCode: '597055555541',
    oneclickChildCommerceCode: '597055555542',
  },
  holding: {
    commerceCode: '597055555540',
    oneclickCommerceCode: '597055555547',
    oneclickChildCommerceCode: '597055555548',
  },
}

async function openTransbank({ kind }: AccountWish): Promise<Record<string, unknown>> {
  return { ...publicCodes[kind], ...termsOf(kind), apiKey: publicKey }
}

function termsOf(kind: AccountKind): object {
  return { deferred: kind === 'holding', oneclickDeferred: kind === 'holding' }
}

const fakeKey = 'fa4e'.repeat(16)

async function openOddTransbank(
  sandbox: Sandbox,
  { kind, number }: AccountWish,
): Promise<Record<string, unknown>> {
  const codeOf = (product: number) =>
    `5970${product}${kind === 'holding' ? 1 : 0}${String(number).padStart(6, '0')}`
  const settings = {
    api_key: fakeKey,
    deferred: kind === 'holding',
    refusals: 'response_code',
    response_level: 2,
    unique_orders: true,
  }
  for (const [code, product] of [
    [codeOf(1), 'webpay'],
    [codeOf(2), 'oneclick_mall'],
  ] as const) {
    await sandbox.control('PUT', `/accounts/transbank/${code}`, { ...settings, product })
  }
  return {
    commerceCode: codeOf(1),
    oneclickCommerceCode: codeOf(2),
    oneclickChildCommerceCode: codeOf(3),
    responseCodeLevel: 2,
    ...termsOf(kind),
    apiKey: fakeKey,
  }
}
