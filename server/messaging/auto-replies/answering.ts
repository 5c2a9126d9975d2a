import type { Kysely } from 'kysely'
import type { Context } from '#core/context.ts'
import type { Tables, TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import { countAutoReplies, lockContact, type MessageRow } from '../message-queries.ts'
import { storeMessage } from '../messages.ts'
import type { InboundMessage } from '../providers/provider.ts'
import { isWithin, type OpeningHours } from './opening-hours.ts'
import { type AutoReplyRow, listActiveReplies } from './queries.ts'

const hourMs = 60 * 60 * 1000

/** Answers a customer's message by the first rule that fits. A rule that can't answer costs nothing but its answer. */
export async function answerAutomatically(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  received: MessageRow,
  message: InboundMessage,
): Promise<void> {
  const now = context.now()
  const rules = await listActiveReplies(db, scope.tenantId, received.channel)
  const rule = rules.find((one) => matches(one, message.text ?? message.payload ?? '') && isOpen(one, now))
  if (rule === undefined || received.from_address === received.to_address) return
  await lockContact(db, scope.tenantId, received.from_address)
  const answered = await countAutoReplies(
    db,
    scope.tenantId,
    received.from_address,
    new Date(now.getTime() - hourMs),
  )
  if (answered >= rule.max_per_hour) return
  await sendAnswer(context, db, scope, { received, message, rule })
}

interface Answer {
  received: MessageRow
  message: InboundMessage
  rule: AutoReplyRow
}

async function sendAnswer(
  context: Context,
  db: Kysely<Tables>,
  scope: TenantScope,
  { received, message, rule }: Answer,
): Promise<void> {
  const request = {
    tenant_id: scope.tenantId,
    to: received.from_address,
    media: [],
    attachments: [],
    tags: [],
    reference: received.id,
    ...(rule.body !== null && { body: rule.body }),
    ...(rule.template !== null && {
      template: {
        name: rule.template,
        variables: { name: message.profileName ?? '', contact: received.from_address },
      },
    }),
    ...(received.channel === 'email' &&
      rule.template === null && { subject: `Re: ${message.subject ?? ''}`.trim() }),
  }
  try {
    const channel = received.channel
    await storeMessage(context, db, scope, {
      channel,
      to: received.from_address,
      request,
      options: { autoReply: rule.name },
    })
  } catch (error) {
    if (!(error instanceof PipeError)) throw error
    context.log.warn(
      { tenant_id: scope.tenantId, auto_reply: rule.name, code: error.code },
      'automatic reply not sent',
    )
  }
}

function matches(rule: AutoReplyRow, text: string): boolean {
  if (rule.keywords.length === 0) return true
  const words = ` ${fold(text)} `
  return rule.keywords.some((keyword) => words.includes(` ${fold(keyword)} `))
}

function fold(text: string): string {
  return text
    .normalize('NFD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .replaceAll(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
    .toLowerCase()
}

function isOpen(rule: AutoReplyRow, now: Date): boolean {
  return rule.hours === null || isWithin(JSON.parse(rule.hours) as OpeningHours, now)
}
