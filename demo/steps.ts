import type { Backend, Event } from './backend.ts'
import { check } from './check.ts'
import type { Client } from './client.ts'
import type { Channel, Connection, Product, ProviderId } from './products.ts'
import type { Row, Screen } from './screen.ts'

export interface Scene {
  screen: Screen
  pipecoreUrl: string
  admin: Client
  sandbox: Client
}

/** A product as it plays along: its backend, and PipeCore as its key sees it. */
export interface Player {
  product: Product
  pipecore: Client
  backend: Backend
}

export interface Message {
  id: string
  channel: Channel
  provider: ProviderId
  direction: 'out' | 'in'
  status: string
  auto_reply: string | null
}

export interface Story extends Message {
  trace_id: string
  attempts: Array<{ provider: ProviderId; outcome: string; started_at: string }>
  events: Array<{ type: string; trace_id: string }>
}

export interface SavedConnection {
  id: string
  provider: ProviderId
  webhook_url: string
  credentials: Record<string, unknown>
  updated_at: string
}

export const channelNames: Readonly<Record<Channel, string>> = {
  whatsapp: 'WhatsApp',
  sms: 'SMS',
  email: 'E-mail',
}
export const providerNames: Readonly<Record<ProviderId, string>> = {
  twilio: 'Twilio',
  meta: 'Meta',
  sendgrid: 'SendGrid',
  resend: 'Resend',
}

/** What a message goes through, in this order, on each channel. */
const lives: Readonly<Record<Channel, readonly string[]>> = {
  whatsapp: ['queued', 'sent', 'delivered', 'read'],
  sms: ['queued', 'sent', 'delivered'],
  email: ['queued', 'sent', 'delivered'],
}

/** A customer writes to the tenant on WhatsApp; the provider tells PipeCore, PipeCore the backend. */
export async function receive(
  { screen, sandbox }: Scene,
  player: Player,
  { from, name, text }: { from: string; name: string; text: string },
): Promise<Event> {
  const { product, backend } = player
  const { provider, account, credentials } = connectionOf(player, 'whatsapp')
  const row = screen.row({ ...who(product, 'whatsapp', provider), arrow: '←', text: `${name}: ${text}` })
  const addresses =
    provider === 'twilio' ? { from: `whatsapp:${from}`, to: credentials.whatsappNumber } : { from }
  const written = { account, ...addresses, text, profile_name: name }
  const { delivered } = await sandbox<{ delivered: boolean }>('POST', `/sandbox/inbound/${provider}`, {
    body: written,
  })
  check(`PipeCore takes the webhook of ${providerNames[provider]}`, delivered, true)
  const [event] = await backend.waitFor(`message.received with "${text}"`, (one) => {
    return one.event === 'message.received' && one.text === text && one.from === from
  })
  row.tick('received')
  row.end()
  return event as Event
}

/** Sends a message and watches its events arrive at the backend. */
export async function send(
  { screen }: Scene,
  player: Player,
  { channel, message, text }: { channel: Channel; message: object; text: string },
): Promise<Message> {
  const { product, pipecore } = player
  const { provider } = connectionOf(player, channel)
  const row = screen.row({ ...who(product, channel, provider), arrow: '→', text })
  const body = { tenant_id: product.tenantId, ...message }
  const sent = await pipecore<Message>('POST', `/messaging/send/${channel}`, { body, status: 202 })
  check('The message goes by the provider of its channel', sent.provider, provider)
  await follow(player, sent, row)
  return sent
}

/**
 * Ticks each event of a message as it arrives, and checks the story PipeCore tells of it in the end. A status
 * that a later one overtook has no event of its own: the story says so.
 */
export async function follow({ backend, pipecore }: Player, message: Message, row: Row): Promise<void> {
  const life = lives[message.channel]
  const last = life.at(-1)
  const isAbout = (event: Event, status: string | undefined) =>
    event.message_id === message.id && event.event === `message.${status}`
  const overtaken: string[] = []
  for (const status of life) {
    const came = await backend.waitFor(`message.${status} of ${message.id}`, (event) => {
      return isAbout(event, status) || isAbout(event, last)
    })
    if (came.some((event) => isAbout(event, status))) row.tick(status)
    else overtaken.push(status)
  }
  const story = await pipecore<Story>('GET', `/messaging/messages/${message.id}`)
  if (overtaken.length) (await import('node:fs')).writeFileSync(`/tmp/overtaken-${message.id}.json`, JSON.stringify(story, null, 1))
  const told = { status: story.status, outcomes: story.attempts.map(({ outcome }) => outcome) }
  check(`The story of ${message.id}`, told, { status: last, outcomes: ['done'] })
  const traces = new Set(story.events.map(({ trace_id: traceId }) => traceId))
  check('One trace id from request to last event', [...traces], [story.trace_id])
  row.end()
}

export function who(product: Product, channel: Channel, provider: ProviderId) {
  return { product: product.name, channel: channelNames[channel], provider: providerNames[provider] }
}

function connectionOf({ product }: Player, channel: Channel): Connection {
  const connection = product.connections.find((one) => one.channel === channel)
  if (connection === undefined) throw new Error(`${product.name} has no ${channel}`)
  return connection
}
