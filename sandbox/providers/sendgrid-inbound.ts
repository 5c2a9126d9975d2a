import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { sendCallback } from '../callbacks.ts'
import { addMessage } from '../world.ts'
import { findKeyAccount } from './key-accounts.ts'
import { makeSigned } from './sendgrid-account.ts'
import type { Sendgrid } from './sendgrid-account.ts'
import { inputError } from './simulator.ts'
import type { Received } from './simulator.ts'

const attachmentSchema = z.strictObject({
  filename: z.string().min(1),
  content_type: z.string().default('application/octet-stream'),
  content_base64: z.base64(),
  content_id: z.string().optional(),
})

/** A customer's e-mail, the same for every e-mail provider. */
export const mailSchema = z.strictObject({
  /** `Name <a@b.c>` or an address; empty envelope senders go in `envelope_from`. */
  from: z.string().min(3),
  to: z.string().min(3),
  cc: z.string().optional(),
  account: z.string().optional(),
  webhook_url: z.url().optional(),
  subject: z.string().default(''),
  text: z.string().optional(),
  html: z.string().optional(),
  headers: z.record(z.string(), z.string()).default({}),
  attachments: z.array(attachmentSchema).max(20).default([]),
})

export const sendgridInboundSchema = mailSchema.extend({
  /** `<>` for machines; the sender's address when left out. */
  envelope_from: z.string().optional(),
})

type Mail = z.infer<typeof sendgridInboundSchema>

/** Mail arrives at the account's parse address and is posted on as multipart. */
export function receiveSendgrid(sendgrid: Sendgrid, mail: Mail): Received {
  const { byName } = sendgrid.accounts
  const account =
    mail.account === undefined
      ? byName.size === 1
        ? byName.values().next().value
        : undefined
      : findKeyAccount(sendgrid.accounts, mail.account)
  if (!account) throw inputError('account', 'no such account: name one known here, or its API key')
  const id = `<${randomUUID()}@mail.example.com>`
  addMessage(sendgrid.world, {
    id,
    effect_id: id,
    provider: 'sendgrid',
    account: account.name,
    channel: 'email',
    direction: 'inbound',
    from: mail.from,
    to: mail.to,
    subject: mail.subject,
    text: mail.text ?? null,
    html: mail.html ?? null,
    details: { headers: mail.headers, attachments: mail.attachments.map(({ filename }) => filename) },
    reference: null,
    state: 'received',
    fault: null,
  })
  const url = mail.webhook_url ?? account.parse?.url
  if (!url) return { message_ids: [id], callback: null }
  const { body, contentType } = writeParse(mail, id)
  const post = makeSigned(account, {
    url,
    lane: id,
    keys: account.parse?.keys ?? null,
    headers: { 'content-type': contentType, 'user-agent': 'SendGrid Inbound Parse' },
    body,
    messageIds: [id],
    events: ['inbound'],
  })
  return { message_ids: [id], callback: sendCallback(sendgrid.world, post) }
}

type Part = { name: string; value: string | Buffer; filename?: string; contentType?: string }

function writeParse(mail: Mail, messageId: string): { body: Buffer; contentType: string } {
  const address = /<([^>]*)>/.exec(mail.from)?.[1] ?? mail.from
  const fields: Record<string, string> = {
    headers: writeHeaders(mail, messageId),
    dkim: '{@example.com : pass}',
    to: mail.to,
    cc: mail.cc ?? '',
    from: mail.from,
    sender_ip: '203.0.113.9',
    envelope: JSON.stringify({ to: [mail.to], from: mail.envelope_from ?? address }),
    subject: mail.subject,
    spam_score: '0.1',
    spam_report: '',
    charsets: JSON.stringify({ to: 'UTF-8', from: 'UTF-8', subject: 'UTF-8', text: 'utf-8', html: 'utf-8' }),
    SPF: 'pass',
    attachments: String(mail.attachments.length),
  }
  if (mail.text !== undefined) fields['text'] = mail.text
  if (mail.html !== undefined) fields['html'] = mail.html
  const parts: Part[] = Object.entries(fields).map(([name, value]) => ({ name, value }))
  if (mail.attachments.length > 0) parts.push({ name: 'attachment-info', value: describeAttachments(mail) })
  const contentIds = mail.attachments.flatMap(({ content_id: id }, index) =>
    id ? [[id, `attachment${index + 1}`]] : [],
  )
  if (contentIds.length > 0)
    parts.push({ name: 'content-ids', value: JSON.stringify(Object.fromEntries(contentIds)) })
  mail.attachments.forEach((attachment, index) => {
    const value = Buffer.from(attachment.content_base64, 'base64')
    parts.push({
      name: `attachment${index + 1}`,
      value,
      filename: attachment.filename,
      contentType: attachment.content_type,
    })
  })
  return writeMultipart(parts)
}

function describeAttachments(mail: Mail): string {
  const entries = mail.attachments.map(({ filename, content_type: type, content_id: id }, index) => [
    `attachment${index + 1}`,
    { filename, name: filename, type, ...(id ? { 'content-id': id } : {}) },
  ])
  return JSON.stringify(Object.fromEntries(entries))
}

function writeHeaders(mail: Mail, messageId: string): string {
  const headers = {
    From: mail.from,
    To: mail.to,
    Subject: mail.subject,
    'Message-ID': messageId,
    ...mail.headers,
  }
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('')
}

function writeMultipart(parts: Part[]): { body: Buffer; contentType: string } {
  const boundary = `xYzZY${randomUUID().replaceAll('-', '')}`
  const chunks = parts.flatMap(({ name, value, filename, contentType }) => [
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${filename ? `; filename="${filename.replaceAll('"', '%22')}"` : ''}\r\n${contentType ? `Content-Type: ${contentType}\r\n` : ''}\r\n`,
    ),
    Buffer.from(value),
    Buffer.from('\r\n'),
  ])
  return {
    body: Buffer.concat([...chunks, Buffer.from(`--${boundary}--\r\n`)]),
    contentType: `multipart/form-data; boundary=${boundary}`,
  }
}
