import type { RunningServer } from '../server/server.ts'
import { saveProvider } from '../server/messaging/config.ts'
import { createProduct, createTenant, getProducts } from '../server/tenants/tenants.ts'

export const tenantId = 'tableflow_123'

/** A product with one tenant whose SMS go to the simulated Twilio, so that a first message can be sent at once. */
export async function seedFirstTenant({ context }: RunningServer): Promise<void> {
  const operator = { kind: 'admin', scopes: ['*'], expiresAt: null } as const
  if ((await getProducts(context, operator, { limit: 1 })).data.length > 0) return
  await createProduct(context, operator, { id: 'tableflow', name: 'TableFlow' })
  await createTenant(context, operator, {
    id: tenantId,
    product_id: 'tableflow',
    name: 'TableFlow, first restaurant',
  })
  await saveProvider(
    context,
    { tenantId, productId: 'tableflow', traceId: '' },
    {
      tenantId,
      channel: 'sms',
      provider: 'twilio',
      credentials: {
        accountSid: 'AC_tableflow_twilio_sid',
        authToken: 'tableflow_twilio_token',
        phoneNumber: '+15005550006',
      },
      isActive: true,
    },
  )
}
