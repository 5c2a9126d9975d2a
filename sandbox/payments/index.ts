import type { World } from '../world.ts'
import { createMercadopago } from './mercadopago.ts'
import { paymentProviderIds } from './simulator.ts'
import type { PaymentProviderId, PaymentSimulator } from './simulator.ts'
import { createStripe } from './stripe.ts'
import { createTransbank } from './transbank.ts'

const creators: Partial<Record<PaymentProviderId, (world: World) => PaymentSimulator>> = {
  mercadopago: createMercadopago,
  stripe: createStripe,
  transbank: createTransbank,
}

export type PaymentSimulators = Map<PaymentProviderId, PaymentSimulator>

export function createPaymentSimulators(world: World): PaymentSimulators {
  const created = paymentProviderIds.flatMap((id) => {
    const simulator = creators[id]?.(world)
    return simulator ? [[id, simulator] as const] : []
  })
  return new Map(created)
}
