import type { PaymentProviderId, PaymentSimulator } from './payments/simulator.ts'
import type { Simulator } from './providers/simulator.ts'
import type { ProviderId, World } from './world.ts'

/** The running sandbox as its control API and its page see it. */
export type Site = {
  world: World
  simulators: Record<ProviderId, Simulator>
  payments: Record<PaymentProviderId, PaymentSimulator>
  /** Back to the settings it was started with. */
  resetSettings(): void
}
