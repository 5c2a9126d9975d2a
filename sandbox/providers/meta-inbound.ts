import { createHash, randomInt } from 'node:crypto'
import { z } from 'zod'
import { sendCallback } from '../callbacks.ts'
import { addMessage, openWindow } from '../world.ts'
import { createWamid, makeEntry, makeWebhook, webhookOf } from './meta-account.ts'
import type { Meta, MetaAccount } from './meta-account.ts'
import { inboundMediaSchema, inputError, mediaBytes } from './simulator.ts'
import type { Received } from './simulator.ts'

const writtenSchema = z.strictObject({
  /** Phone in any common way of writing it; left out for a user who only has a username. */
  from: z.string().min(1).optional(),
  user_id: z.string().min(1).optional(),
  text: z.string().optional(),
  media: inboundMediaSchema
    .extend({
      kind: z.enum(['image', 'audio', 'video', 'document', 'sticker']).default('image'),
      caption: z.string().optional(),
    })
    .optional(),
  button: z.strictObject({ text: z.string(), payload: z.string() }).optional(),
  reply_button: z.strictObject({ id: z.string(), title: z.string() }).optional(),
  location: z
    .strictObject({
      latitude: z.number(),
      longitude: z.number(),
      name: z.string().optional(),
      address: z.string().optional(),
    })
    .optional(),
  reaction: z.strictObject({ message_id: z.string(), emoji: z.string() }).optional(),
  reply_to: z.string().optional(),
  profile_name: z.string().default('Customer'),
  /** A message object exactly as given instead of the fields above. */
  message: z.record(z.string(), z.unknown()).optional(),
})

export const metaInboundSchema = writtenSchema
  .extend({
    /** Phone number id that is written to; may be left out when there is one account. */
    account: z.string().optional(),
    to: z.string().optional(),
    webhook_url: z.url().optional(),
    /** Further messages in the same webhook, one entry each. */
    batch: z.array(writtenSchema).max(50).default([]),
  })
  .refine((input) => input.from !== undefined || input.user_id !== undefined, {
    message: 'give from, user_id or both',
  })

type Written = z.infer<typeof writtenSchema>

/** A customer writes to one of the numbers; opens the 24-hour window. */
export function receiveMeta(meta: Meta, input: z.infer<typeof metaInboundSchema>): Received {
  const account = findAccount(meta, input.account ?? input.to)
  if (!account) throw inputError('account', 'no such account: name a phone number id known here')
  const { account: _, to: __, webhook_url: webhookUrl, batch, ...first } = input
  const made = [first, ...batch].map((written) => makeMessage(meta, account, written))
  const url = webhookUrl ?? webhookOf(meta, account)
  const ids = made.map(({ id }) => id)
  if (!url) return { message_ids: ids, callback: null }
  const entries = made.map(({ value }) => makeEntry(account, value))
  const post = makeWebhook(account, { url, entries, messageIds: ids, events: made.map(() => 'inbound') })
  return { message_ids: ids, callback: sendCallback(meta.world, post) }
}

function findAccount(meta: Meta, name: string | undefined): MetaAccount | undefined {
  if (name === undefined) return meta.accounts.size === 1 ? meta.accounts.values().next().value : undefined
  const digits = name.replaceAll(/\D/g, '')
  return (
    meta.accounts.get(name) ??
    [...meta.accounts.values()].find((account) => digits !== '' && account.displayPhoneNumber === digits)
  )
}

function makeMessage(
  meta: Meta,
  account: MetaAccount,
  written: Written,
): { id: string; value: Record<string, unknown> } {
  const { world } = meta
  const phone = written.from?.replaceAll(/[+\s()-]/g, '')
  const id = createWamid()
  const content = written.message ?? makeContent(meta, written)
  addMessage(world, {
    id,
    effect_id: id,
    provider: 'meta',
    account: account.phoneNumberId,
    channel: 'whatsapp',
    direction: 'inbound',
    from: phone ?? written.user_id ?? '',
    to: account.displayPhoneNumber,
    subject: null,
    text:
      written.text ??
      written.button?.text ??
      written.reply_button?.title ??
      written.media?.caption ??
      written.reaction?.emoji ??
      null,
    html: null,
    details: content,
    reference: null,
    state: 'received',
    fault: null,
  })
  for (const customer of [phone, written.user_id]) {
    if (customer) openWindow(world, 'meta', account.phoneNumberId, customer)
  }
  const who = { ...(phone ? { wa_id: phone } : {}), ...(written.user_id ? { user_id: written.user_id } : {}) }
  const sender = {
    ...(phone ? { from: phone } : {}),
    ...(written.user_id ? { from_user_id: written.user_id } : {}),
  }
  const context = written.reply_to
    ? { context: { from: account.displayPhoneNumber, id: written.reply_to } }
    : {}
  const timestamp = String(Math.floor(world.now().getTime() / 1_000))
  const message = { ...context, ...sender, id, timestamp, ...content }
  return {
    id,
    value: { contacts: [{ profile: { name: written.profile_name }, ...who }], messages: [message] },
  }
}

function makeContent(meta: Meta, written: Written): Record<string, unknown> {
  if (written.media) return makeMedia(meta, written.media)
  if (written.button) return { type: 'button', button: written.button }
  if (written.reply_button)
    return { type: 'interactive', interactive: { type: 'button_reply', button_reply: written.reply_button } }
  if (written.location) return { type: 'location', location: written.location }
  if (written.reaction) return { type: 'reaction', reaction: written.reaction }
  return { type: 'text', text: { body: written.text ?? '' } }
}

function makeMedia(meta: Meta, media: NonNullable<Written['media']>): Record<string, unknown> {
  const bytes = mediaBytes(media)
  const id = String(randomInt(1e14))
  meta.media.set(id, {
    id,
    contentType: media.content_type,
    filename: media.filename ?? null,
    bytes,
    urlMadeAt: 0,
  })
  const sha256 = createHash('sha256').update(bytes).digest('base64')
  const caption = media.caption === undefined ? {} : { caption: media.caption }
  const filename = media.filename === undefined ? {} : { filename: media.filename }
  return {
    type: media.kind,
    [media.kind]: { id, mime_type: media.content_type, sha256, ...caption, ...filename },
  }
}
