import { createHmac, randomUUID } from 'node:crypto'
import { sendCallback, waitForAnswer } from '../callbacks.ts'
import type { CallbackInput } from '../callbacks.ts'
import { nextId } from './mercadopago-account.ts'
import type { Mercadopago, MercadopagoAccount, Topic } from './mercadopago-account.ts'
import { isLive } from './mercadopago-cards.ts'
import { writeTime } from './mercadopago-sites.ts'
import type { PaymentFault } from './payment-faults.ts'

/** One call, one choice of a customer or one tick of the clock: what it changed is told when it ends. */
export type Turn = { mercadopago: Mercadopago; account: MercadopagoAccount; notices: CallbackInput[] }

type Change = {
  topic: Topic
  action: string
  id: string
  /** Of the request that made what changed; without it the account's own counts. */
  url: string | null
  /** Notices about one thing are first tried in order. */
  lane: string
  extra?: Record<string, unknown>
}

export function startTurn(mercadopago: Mercadopago, account: MercadopagoAccount): Turn {
  return { mercadopago, account, notices: [] }
}

/** What happens by itself: no call, so no fault. */
export function playTurn(
  mercadopago: Mercadopago,
  account: MercadopagoAccount,
  play: (turn: Turn) => void,
): void {
  const turn = startTurn(mercadopago, account)
  play(turn)
  sendLater(turn, turn.notices, 0)
}

/** Notes a change to be told by webhook; a request's own URL gets the old IPN as well unless it declines. */
export function notify(turn: Turn, change: Change): void {
  const { account } = turn
  const url = change.url ?? account.webhookUrl
  if (url === null) return
  const isOwn = change.url !== null
  const source = new URL(url).searchParams.get('source_news')
  const isWanted = account.options.topics.includes(change.topic) || (isOwn && change.topic === 'payment')
  if (isWanted && source !== 'ipn') turn.notices.push(createNotice(turn, change, url))
  if (isOwn && source !== 'webhooks') {
    const legacy = describeLegacy(change)
    if (legacy) turn.notices.push(createLegacyNotice(turn, change, url, legacy))
  }
}

/** Sends what was noted, as the fault of the call has it; waits only for the webhook that comes too early. */
export async function endTurn(turn: Turn, fault: PaymentFault | null): Promise<void> {
  const { world } = turn.mercadopago
  const notices = bend(turn.notices, fault)
  const [first, ...others] = notices
  if (fault?.name === 'webhook_early' && first) {
    const callback = sendCallback(world, first)
    await waitForAnswer(world, callback, LONGEST_EARLY_WAIT_MS)
    return sendLater(turn, others, 0)
  }
  sendLater(turn, notices, fault?.name === 'webhook_late' ? world.settings.late_ms : 0)
}

const LONGEST_EARLY_WAIT_MS = 3_000

function bend(notices: CallbackInput[], fault: PaymentFault | null): CallbackInput[] {
  if (fault?.name === 'webhook_dropped') return []
  if (fault?.name === 'webhook_reordered') return notices.toReversed()
  if (fault?.name === 'webhook_duplicate') return notices.flatMap((notice) => [notice, notice])
  return notices
}

function sendLater({ mercadopago: { world } }: Turn, notices: CallbackInput[], extraMs: number): void {
  if (notices.length === 0) return
  world.later(world.settings.callback_delay_ms + extraMs, () => {
    for (const notice of notices) sendCallback(world, notice)
  })
}

function createNotice(turn: Turn, change: Change, url: string): CallbackInput {
  const { mercadopago, account } = turn
  const isLowered = account.options.id_case === 'lowered'
  const id = isLowered ? change.id.toUpperCase() : change.id
  const body = JSON.stringify({
    id: nextId(mercadopago),
    live_mode: isLive(account),
    type: change.topic,
    date_created: writeTime(mercadopago.world.now()),
    user_id: account.userId,
    api_version: 'v1',
    action: change.action,
    data: { id },
    ...change.extra,
  })
  const requestId = randomUUID()
  return createPost(
    turn,
    change,
    change.action.includes('.') ? change.action : `${change.topic}.${change.action}`,
    {
      url: addQuery(url, `data.id=${encodeURIComponent(id)}&type=${change.topic}`),
      build: (at) => ({
        headers: {
          'content-type': 'application/json',
          'user-agent': `MercadoPago WebHook v1.0 ${change.topic}`,
          'x-request-id': requestId,
          'x-signature': signMercadopago(account.webhookSecret, {
            id: isLowered ? id.toLowerCase() : id,
            requestId,
            ts: writeTimestamp(account, at),
          }),
        },
        body,
      }),
    },
  )
}

function writeTimestamp({ options }: MercadopagoAccount, at: Date): string {
  return String(options.ts_unit === 'ms' ? at.getTime() : Math.floor(at.getTime() / 1_000))
}

type Signed = { id: string | null; requestId: string | null; ts: string }

/** `x-signature`: HMAC over a manifest of the id in the query, the request id and the time; absent parts are left out. */
export function signMercadopago(secret: string, { id, requestId, ts }: Signed): string {
  const parts = [
    id === null ? '' : `id:${id};`,
    requestId === null ? '' : `request-id:${requestId};`,
    `ts:${ts};`,
  ]
  return `ts=${ts},v1=${createHmac('sha256', secret).update(parts.join('')).digest('hex')}`
}

type Legacy = { topic: string; resource: string }

/** IPN, as it was before webhooks: unsigned. */
function describeLegacy({ topic, id }: Change): Legacy | null {
  if (topic === 'payment') return { topic, resource: id }
  if (topic === 'topic_merchant_order_wh')
    return { topic: 'merchant_order', resource: `https://api.mercadolibre.com/merchant_orders/${id}` }
  return null
}

function createLegacyNotice(
  turn: Turn,
  change: Change,
  url: string,
  { topic, resource }: Legacy,
): CallbackInput {
  return createPost(turn, change, `ipn.${topic}`, {
    url: addQuery(url, `topic=${topic}&id=${encodeURIComponent(change.id)}`),
    build: () => ({
      headers: { 'content-type': 'application/json', 'user-agent': `MercadoPago Feed v2.0 ${topic}` },
      body: JSON.stringify({ resource, topic }),
    }),
  })
}

function createPost(
  { account }: Turn,
  change: Change,
  event: string,
  { url, build }: Pick<CallbackInput, 'url' | 'build'>,
): CallbackInput {
  return {
    provider: 'mercadopago',
    account: account.name,
    messageIds: [change.id],
    events: [event],
    url,
    lane: `mercadopago ${change.lane} ${url.split('?', 1)[0]!}`,
    build,
    accepts: (status) => status === 200 || status === 201,
  }
}

function addQuery(url: string, query: string): string {
  const [address = ''] = url.split('#', 1)
  return `${address}${address.includes('?') ? '&' : '?'}${query}`
}
