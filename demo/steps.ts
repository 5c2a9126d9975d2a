import { setTimeout as pause } from 'node:timers/promises'
import type { Backend, Event } from './backend.ts'
import { check, StepFailed } from './check.ts'
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
  reports: Array<{ status: string; applied: boolean }>
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

const patienceMs = 15_000
const pollMs = 100

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

/** Ticks each event of a message as it arrives, and checks the story PipeCore tells of it in the end. */
export async function follow(player: Player, message: Message, row: Row): Promise<void> {
  const life = lives[message.channel]
  const last = life.at(-1) ?? ''
  const late: string[] = []
  for (const status of life) {
    const came = await waitForStatus(player, message, [status, last])
    if (came.some(({ event }) => event === `message.${status}`)) row.tick(status)
    else late.push(status)
  }
  const story = await readStory(player, message)
  const told = { status: story.status, outcomes: story.attempts.map(({ outcome }) => outcome) }
  check(`The story of ${message.id}`, told, { status: last, outcomes: ['done'] })
  const traces = new Set(story.events.map(({ trace_id: traceId }) => traceId))
  check('One trace id from request to last event', [...traces], [story.trace_id])
  for (const status of late) await explainLate(player, message, status, row)
  row.end()
}

/** On a busy machine callbacks overtake each other: a status that came too late has no event, but a report. */
async function explainLate(player: Player, message: Message, status: string, row: Row): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const { events, reports } = await readStory(player, message)
    if (events.some(({ type }) => type === `message.${status}`)) {
      await waitForStatus(player, message, [status])
      return row.tick(status)
    }
    if (reports.some((one) => one.status === status && !one.applied)) return row.skip(`${status}, overtaken`)
    if (performance.now() > deadline) {
      throw new StepFailed(`${status} of ${message.id}`, 'an event, or a report that came late', 'neither')
    }
    await pause(pollMs)
  }
}

function readStory({ pipecore }: Player, { id }: Message): Promise<Story> {
  return pipecore('GET', `/messaging/messages/${id}`)
}

function waitForStatus({ backend }: Player, { id }: Message, statuses: readonly string[]): Promise<Event[]> {
  const types = statuses.map((status) => `message.${status}`)
  const what = `${types[0]} of ${id}`
  return backend.waitFor(what, (one) => one.message_id === id && types.includes(one.event))
}

export function who(product: Product, channel: Channel, provider: ProviderId) {
  return { product: product.name, channel: channelNames[channel], provider: providerNames[provider] }
}

function connectionOf({ product }: Player, channel: Channel): Connection {
  const connection = product.connections.find((one) => one.channel === channel)
  if (connection === undefined) throw new Error(`${product.name} has no ${channel}`)
  return connection
}
