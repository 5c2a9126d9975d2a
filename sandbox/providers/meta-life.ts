import { createHash } from 'node:crypto'
import { sendCallback } from '../callbacks.ts'
import type { Callback } from '../callbacks.ts'
import type { Fault } from '../faults.ts'
import type { Step } from '../life.ts'
import { isWindowOpen } from '../world.ts'
import type { Message } from '../world.ts'
import { makeEntry, makeWebhook, webhookOf } from './meta-account.ts'
import type { Meta, MetaAccount } from './meta-account.ts'
import { webhookError } from './meta-errors.ts'
import type { MetaSend } from './meta-rules.ts'

/** Sent, delivered, read, unless the fault or a closed window says otherwise. */
export function planMetaSteps(
  meta: Meta,
  account: MetaAccount,
  message: Message,
  send: MetaSend,
  fault: Fault | null,
): Step[] {
  const step = (state: string, errorCode?: number): Step => ({
    state,
    report: (at) => reportStatus(meta, account, message, send, { state, at, errorCode }),
  })
  if (fault?.name === 'failed') return [step('failed', fault.code ?? 131026)]
  if (!send.template && !isWindowOpen(meta.world, 'meta', account.phoneNumberId, send.to))
    return [step('failed', 131047)]
  if (fault?.name === 'stuck') return [step('sent')]
  if (fault?.name === 'read_without_delivered') return [step('sent'), step('read')]
  return [step('sent'), step('delivered'), step('read')]
}

type StatusEvent = { state: string; at: Date; errorCode: number | undefined }

function reportStatus(
  meta: Meta,
  account: MetaAccount,
  message: Message,
  send: MetaSend,
  event: StatusEvent,
): Callback | null {
  const url = webhookOf(meta, account)
  if (!url) return null
  const isService = !send.template
  const status = {
    id: message.id,
    status: event.state,
    timestamp: String(Math.floor(event.at.getTime() / 1_000)),
    ...(send.isUserId ? { recipient_user_id: send.to } : { recipient_id: send.to }),
    ...(send.reference === null ? {} : { biz_opaque_callback_data: send.reference }),
    ...(event.errorCode
      ? { errors: [webhookError(event.errorCode)] }
      : describePricing(message, event, isService)),
  }
  const entries = [makeEntry(account, { statuses: [status] })]
  const post = { url, entries, messageIds: [message.id], events: [event.state] }
  return sendCallback(meta.world, makeWebhook(account, post))
}

function describePricing(message: Message, event: StatusEvent, isService: boolean): Record<string, unknown> {
  const category = isService ? 'service' : 'utility'
  const pricing = {
    billable: !isService,
    pricing_model: 'PMP',
    category,
    type: isService ? 'free_customer_service' : 'regular',
  }
  if (event.state !== 'sent') return { pricing }
  const id = createHash('md5').update(`${message.account} ${message.to}`).digest('hex')
  return { conversation: { id, origin: { type: category } }, pricing }
}
