import type { Call, Reply } from '../http.ts'

export const paymentProviderIds = ['stripe', 'mercadopago', 'transbank'] as const
export type PaymentProviderId = (typeof paymentProviderIds)[number]

/** One payment provider as the sandbox hosts it: its API and the pages its customers see, below one prefix. */
export type PaymentSimulator = {
  id: PaymentProviderId
  title: string
  answer(call: Call): Promise<Reply>
  /** Makes or changes an account; answers what its owner enters at PipeCore. Throws ZodError on bad input. */
  putAccount(name: string, input: unknown): Promise<PaymentAccountView>
  listAccounts(): PaymentAccountView[]
  /** What a customer does on the provider's page. Throws ZodError on bad input. */
  pay(input: unknown): Promise<PayResult>
  /** Does what a person does at the provider: `refund` in its dashboard, `dispute`, `renew`. Throws ZodError on bad input. */
  act(action: string, input: unknown): Promise<Record<string, unknown>>
  /** Pages on which a customer could act now, newest first. */
  listOpenPages(limit: number): OpenPayPage[]
  /** Forgets what is not an account. */
  clear(): void
  clearAccounts(): void
}

/** `path` starts with the provider's prefix: `/transbank/webpayserver/…`. */
export type OpenPayPage = {
  provider: PaymentProviderId
  id: string
  path: string
  title: string
  reference: string | null
  /** Minor units. */
  amount: number
  currency: string
  at: string
}

export type PaymentAccountView = { provider: PaymentProviderId; account: string } & Record<string, unknown>

/** Where a customer's browser goes next. */
export type BrowserStep = { method: 'GET' | 'POST'; url: string; fields: Record<string, string> }

/** `next` is null when the customer closed the tab or is left waiting on the page. */
export type PayResult = { state: string; next: BrowserStep | null }
