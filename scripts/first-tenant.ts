import type { RunningServer } from '../server/server.ts'
import { PipeError } from '../server/core/errors.ts'
import { getProviders, saveProvider } from '../server/messaging/config.ts'
import { createProduct, createTenant } from '../server/tenants/tenants.ts'

export const tenantId = 'tableflow_123'

const scope = { tenantId, productId: 'tableflow', traceId: '' }

/**
 * A product with one tenant whose SMS go to the simulated Twilio, so that a first message can be sent at once.
 * What is there already stays as it is.
 */
export async function seedFirstTenant({ context }: RunningServer): Promise<void> {
  const operator = { kind: 'admin', scopes: ['*'], expiresAt: null } as const
  try {
    await createProduct(context, operator, { id: scope.productId, name: 'TableFlow' })
    await createTenant(context, operator, {
      id: tenantId,
      product_id: scope.productId,
      name: 'TableFlow, first restaurant',
    })
  } catch (error) {
    if (error instanceof PipeError && error.status === 409) return
    throw error
  }
  if ((await getProviders(context, scope)).length > 0) return
  await saveProvider(context, scope, {
    tenantId,
    channel: 'sms',
    provider: 'twilio',
    credentials: {
      accountSid: 'AC_tableflow_twilio_sid',
      authToken: 'tableflow_twilio_token',
      phoneNumber: '+15005550006',
    },
    isActive: true,
  })
}
