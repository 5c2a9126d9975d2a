import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { configRoutes } from './routes/config.ts'
import { methodRoutes } from './routes/methods.ts'
import { paymentRoutes } from './routes/payments.ts'
import { reportRoutes } from './routes/reports.ts'
import { subscriptionRoutes } from './routes/subscriptions.ts'
import { webhookRoutes } from './routes/webhook.ts'

export function routes(app: App, context: Context): void {
  paymentRoutes(app, context)
  methodRoutes(app, context)
  subscriptionRoutes(app, context)
  configRoutes(app, context)
  reportRoutes(app, context)
  // A scope of its own: here bodies stay bytes.
  void app.register(async (scope) => webhookRoutes(scope as unknown as App, context))
}
