import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import type { App } from '#core/module.ts'
import { scopeFor } from '#tenants'
import { getMessage } from '../message-log.ts'
import { acceptMessage } from '../messages.ts'
import { GeneralSendRequest, Message, SendQuery, SendRequest } from '../schema.ts'

const tags = ['Messaging']
const attachmentsLimitBytes = 40 * 1024 * 1024
const shortestPollMs = 30
const longestPollMs = 400
/** Further callers are answered at once: waiting is a convenience, sending is not. */
const mostWaiting = 50

const headers = z.looseObject({
  'idempotency-key': z
    .string()
    .min(1)
    .max(255)
    .optional()
    .meta({ description: 'The same key and body send once, however often they come.' }),
})

export function sendRoutes(app: App, context: Context): void {
  for (const channel of ['whatsapp', 'sms', 'email'] as const) {
    app.post(
      `/messaging/send/${channel}`,
      {
        bodyLimit: attachmentsLimitBytes,
        config: { scope: 'messaging:send' },
        schema: {
          operationId: `send${channel[0]?.toUpperCase()}${channel.slice(1)}`,
          tags,
          summary: `Send a message by ${channel}`,
          headers,
          querystring: SendQuery,
          body: SendRequest,
          response: { 202: Message },
        },
      },
      async (request, reply) => {
        const scope = await scopeFor(context, request.caller, request.body.tenant_id, request.traceId)
        const options = { idempotencyKey: request.headers['idempotency-key'] }
        const message = await acceptMessage(context, scope, channel, request.body, options)
        return reply.code(202).send(
          await settle(context, scope, message, {
            seconds: request.query.wait,
            isGone: () => reply.raw.destroyed,
          }),
        )
      },
    )
  }
  app.post(
    '/messaging/send',
    {
      bodyLimit: attachmentsLimitBytes,
      config: { scope: 'messaging:send' },
      schema: {
        operationId: 'sendMessage',
        tags,
        summary: 'Send a message by the channel the body names',
        headers,
        querystring: SendQuery,
        body: GeneralSendRequest,
        response: { 202: Message },
      },
    },
    async (request, reply) => {
      const { channel, ...body } = request.body
      const scope = await scopeFor(context, request.caller, body.tenant_id, request.traceId)
      const options = { idempotencyKey: request.headers['idempotency-key'] }
      const message = await acceptMessage(context, scope, channel, body, options)
      return reply.code(202).send(
        await settle(context, scope, message, {
          seconds: request.query.wait,
          isGone: () => reply.raw.destroyed,
        }),
      )
    },
  )
}

let waiting = 0

/** Waits until the provider has answered or the time is up. Other processes send too, so it asks the database, ever less often. */
async function settle(
  context: Context,
  scope: TenantScope,
  message: Message,
  wait: { seconds: number; isGone: () => boolean },
): Promise<Message> {
  if (wait.seconds === 0 || waiting >= mostWaiting) return message
  const deadline = performance.now() + wait.seconds * 1000
  let current = message
  let pollMs = shortestPollMs
  waiting += 1
  try {
    while (isUnsettled(current) && performance.now() < deadline && !wait.isGone()) {
      await sleep(Math.min(pollMs, Math.max(1, deadline - performance.now())))
      pollMs = Math.min(pollMs * 1.5, longestPollMs)
      current = await getMessage(context, scope, message.id)
    }
    return current
  } finally {
    waiting -= 1
  }
}

function isUnsettled(message: Message): boolean {
  return message.status === 'queued' && message.provider_message_id === null
}
