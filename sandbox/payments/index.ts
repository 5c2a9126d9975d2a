import type { World } from '../world.ts'
import { createMercadopago } from './mercadopago.ts'
import type { PaymentProviderId, PaymentSimulator } from './simulator.ts'
import { createStripe } from './stripe.ts'
import { createTransbank } from './transbank.ts'

export function createPaymentSimulators(world: World): Record<PaymentProviderId, PaymentSimulator> {
  return {
    stripe: createStripe(world),
    mercadopago: createMercadopago(world),
    transbank: createTransbank(world),
  }
}
