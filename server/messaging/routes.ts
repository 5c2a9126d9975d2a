import type { Context } from '#core/context.ts'
import type { App } from '#core/module.ts'
import { configRoutes } from './routes/config.ts'
import { messageRoutes } from './routes/messages.ts'
import { autoReplyRoutes, suppressionRoutes } from './routes/rules.ts'
import { sendRoutes } from './routes/send.ts'
import { templateRoutes } from './routes/templates.ts'
import { webhookRoutes } from './routes/webhook.ts'

export function routes(app: App, context: Context): void {
  sendRoutes(app, context)
  messageRoutes(app, context)
  configRoutes(app, context)
  templateRoutes(app, context)
  autoReplyRoutes(app, context)
  suppressionRoutes(app, context)
  // A scope of its own: here bodies stay bytes.
  void app.register(async (scope) => webhookRoutes(scope as unknown as App, context))
}
