import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { sendCallback } from '../callbacks.ts'
import { replyJson } from '../http.ts'
import type { Reply } from '../http.ts'
import { addMessage } from '../world.ts'
import { findKeyAccount } from './key-accounts.ts'
import { createSvixId, makeSvixPost, reportResendEvent } from './resend-account.ts'
import type { ReceivedMail, Resend, ResendAccount } from './resend-account.ts'
import { mailSchema } from './sendgrid-inbound.ts'
import { inputError } from './simulator.ts'
import type { Received } from './simulator.ts'

const LINK_LIVES_MS = 60 * 60 * 1_000

/** Mail arrives: the webhook carries metadata, the content waits at `GET /emails/receiving/{id}`. */
export function receiveResend(resend: Resend, mail: z.infer<typeof mailSchema>): Received {
  const account = findAccount(resend, mail.account)
  const received = keep(resend, account, mail)
  const at = resend.world.now()
  const data = {
    email_id: received.id,
    created_at: at.toISOString(),
    from: mail.from,
    to: [mail.to],
    cc: mail.cc ? [mail.cc] : [],
    bcc: [],
    received_for: [mail.to],
    message_id: received.content['message_id'],
    subject: mail.subject,
    attachments: received.attachments.map(viewAttachment),
  }
  const [webhook] = account.webhooks
  if (!mail.webhook_url) {
    const event = { type: 'email.received', at, data, messageId: received.id, svixId: createSvixId() }
    return { message_ids: [received.id], callback: reportResendEvent(resend, account, event) }
  }
  const post = makeSvixPost(account.name, {
    url: mail.webhook_url,
    secrets: webhook?.secrets ?? [],
    id: createSvixId(),
    body: JSON.stringify({ type: 'email.received', created_at: at.toISOString(), data }),
    messageIds: [received.id],
    events: ['email.received'],
  })
  return { message_ids: [received.id], callback: sendCallback(resend.world, post) }
}

function findAccount(resend: Resend, name: string | undefined): ResendAccount {
  const { byName } = resend.accounts
  const only = byName.size === 1 ? byName.values().next().value : undefined
  const account = name === undefined ? only : findKeyAccount(resend.accounts, name)
  if (account) return account
  throw inputError('account', 'no such account: name one known here, or its API key')
}

function keep(resend: Resend, account: ResendAccount, mail: z.infer<typeof mailSchema>): ReceivedMail {
  const id = randomUUID()
  const messageId = `<${randomUUID()}@mail.example.com>`
  const headers = {
    from: mail.from,
    to: mail.to,
    subject: mail.subject,
    'message-id': messageId,
    ...lowerCaseNames(mail.headers),
  }
  const created = resend.world.now().toISOString()
  const content = {
    object: 'email',
    id,
    to: [mail.to],
    from: mail.from,
    created_at: created,
    subject: mail.subject,
    html: mail.html ?? null,
    text: mail.text ?? null,
    headers,
    bcc: [],
    cc: mail.cc ? [mail.cc] : [],
    reply_to: [],
    message_id: messageId,
  }
  const attachments = mail.attachments.map((attachment) => ({
    id: randomUUID(),
    filename: attachment.filename,
    contentType: attachment.content_type,
    contentId: attachment.content_id ?? null,
    bytes: Buffer.from(attachment.content_base64, 'base64'),
  }))
  const received = { id, accountName: account.name, content, attachments }
  resend.received.set(id, received)
  addMessage(resend.world, {
    id,
    effect_id: id,
    provider: 'resend',
    account: account.name,
    channel: 'email',
    direction: 'inbound',
    from: mail.from,
    to: mail.to,
    subject: mail.subject,
    text: mail.text ?? null,
    html: mail.html ?? null,
    details: { headers: mail.headers, attachments: attachments.map(({ filename }) => filename) },
    reference: null,
    state: 'received',
    fault: null,
  })
  return received
}

function lowerCaseNames(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function viewAttachment(attachment: ReceivedMail['attachments'][number]): Record<string, unknown> {
  return {
    id: attachment.id,
    filename: attachment.filename,
    content_type: attachment.contentType,
    content_disposition: attachment.contentId ? 'inline' : 'attachment',
    content_id: attachment.contentId,
  }
}

/** `/emails/receiving/{id}` and its attachments; null when there is no such mail. */
export function answerReceived(resend: Resend, account: ResendAccount, path: string): Reply | null {
  const [, , , id = '', area, attachmentId] = path.split('/')
  const received = resend.received.get(id)
  if (!received || received.accountName !== account.name) return null
  if (area === undefined)
    return replyJson(200, { ...received.content, attachments: received.attachments.map(viewAttachment) })
  if (area !== 'attachments') return null
  const view = (attachment: ReceivedMail['attachments'][number]) => ({
    object: 'attachment',
    ...viewAttachment(attachment),
    size: attachment.bytes.length,
    download_url: `${resend.world.url}/resend/download/${id}/${attachment.id}`,
    expires_at: new Date(resend.world.now().getTime() + LINK_LIVES_MS).toISOString(),
  })
  if (attachmentId === undefined)
    return replyJson(200, { object: 'list', has_more: false, data: received.attachments.map(view) })
  const found = received.attachments.find((attachment) => attachment.id === attachmentId)
  return found ? replyJson(200, view(found)) : null
}

/** The address handed out for an attachment: a link that needs no key, as at Resend's CDN. */
export function downloadAttachment(resend: Resend, path: string): Reply {
  const [, , id = '', attachmentId] = path.split('/')
  const found = resend.received.get(id)?.attachments.find((attachment) => attachment.id === attachmentId)
  if (!found) return { status: 404, headers: { 'content-type': 'text/plain' }, body: 'Not found' }
  return { status: 200, headers: { 'content-type': found.contentType }, body: found.bytes }
}
