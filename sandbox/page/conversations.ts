import { listCallbacksOf } from '../callbacks.ts'
import type { Callback } from '../callbacks.ts'
import { textOf } from '../http.ts'
import type { Channel, Message, ProviderId, World } from '../world.ts'

/** What one customer and one account said to each other. */
export type Conversation = {
  id: string
  provider: ProviderId
  account: string
  channel: Channel
  customer: string
  business: string
  /** The tenant PipeCore named in its webhook's URL, where it did. */
  tenant: string | null
  messages: Message[]
}

const LOOKED_AT = 5_000

/** The conversations with the latest messages, newest first, and how many there are in all. */
export function listConversations(world: World, limit: number): { shown: Conversation[]; total: number } {
  const found = new Map<string, Conversation>()
  const messages = [...world.messages.values()].slice(-LOOKED_AT)
  for (const message of messages) {
    const customer = message.direction === 'outbound' ? message.to : message.from
    const id = [message.provider, message.account, message.channel, customer].join(' ')
    const known = found.get(id)
    found.delete(id)
    const conversation = known ?? startConversation(id, message, customer)
    conversation.messages.push(message)
    found.set(id, conversation)
  }
  const shown = [...found.values()].toReversed().slice(0, limit)
  for (const conversation of shown) conversation.tenant = findTenant(world, conversation.messages)
  return { shown, total: found.size }
}

function startConversation(id: string, message: Message, customer: string): Conversation {
  const { provider, account, channel } = message
  const business = message.direction === 'outbound' ? message.from : message.to
  return { id, provider, account, channel, customer, business, tenant: null, messages: [] }
}

function findTenant(world: World, messages: Message[]): string | null {
  for (const message of messages.toReversed()) {
    const urls = [
      textOf(message.details['status_callback']),
      ...callbacksOf(world, message).map(({ url }) => url),
    ]
    const tenant = urls.flatMap((url) =>
      URL.canParse(url) ? (new URL(url).searchParams.get('tenant_id') ?? []) : [],
    )[0]
    if (tenant) return tenant
  }
  return null
}

export function callbacksOf(world: World, message: Message): Callback[] {
  return listCallbacksOf(world.callbacks, message.id)
}
