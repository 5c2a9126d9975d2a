import { mercadopago } from './mercadopago.ts'
import type { PaymentProvider } from './provider.ts'
import { stripe } from './stripe.ts'
import { transbank } from './transbank.ts'

export const paymentProviders: readonly PaymentProvider[] = [mercadopago, transbank, stripe]
