import type { Provider } from '#connections'
import type { PaymentProvider } from './provider.ts'

type Hearing = Pick<Provider<unknown>, 'acknowledgement' | 'verify' | 'owns'> & Pick<PaymentProvider, 'parse'>

/** Of a provider that reports nothing: what comes in its name is not from it. */
export function withoutWebhooks(reason: string): Hearing {
  return {
    acknowledgement: { status: 200 },
    verify: () => ({ ok: false, check: 'signature', reason }),
    owns: () => false,
    parse: () => [],
  }
}
