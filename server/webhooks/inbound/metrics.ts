import type { Context } from '#core/context.ts'
import { instrumentsOf } from '#core/metrics/metrics.ts'

const instruments = instrumentsOf((meter) => ({
  webhooks: meter.createCounter('pipecore_inbound_webhooks', {
    description: 'Webhooks of providers, by what became of them: stored, a handshake, or refused by a check.',
  }),
}))

export function measureWebhook(context: Context, provider: string, verdict: string): void {
  instruments(context).webhooks.add(1, { provider, verdict })
}
