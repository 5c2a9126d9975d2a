import { check, checkSame } from './check.ts'
import { channelNames, type Message, type Player, providerNames, type Scene } from './steps.ts'

interface LoggedMessage extends Message {
  tenant_id: string
  provider_message_id: string | null
}

interface SandboxMessage {
  id: string
  direction: 'outbound' | 'inbound'
  reference: string | null
  callbacks: Array<{ state: string }>
}

interface AtProviders {
  /** Message id → calls that took effect. */
  effects: Record<string, number>
  messages: SandboxMessage[]
}

/**
 * Compares what was asked for with what PipeCore, the providers and the backends know, shows the counts and
 * answers the sum of them.
 */
export async function showTotals(
  { screen, sandbox }: Scene,
  players: readonly Player[],
  accepted: readonly Message[],
): Promise<string> {
  const logged: LoggedMessage[] = []
  for (const player of players) logged.push(...(await readLog(player)))
  const sent = logged.filter(({ direction }) => direction === 'out')
  checkSame('Every message, and no other', idsOf(sent), idsOf(accepted))
  const atProviders = await sandbox<AtProviders>('GET', '/sandbox/messages?limit=10000')
  checkSame('Messages the providers know', Object.keys(atProviders.effects), idsOf(accepted))
  const repeated = Object.entries(atProviders.effects).filter(([, effects]) => effects !== 1)
  check('Messages with more than one effect', repeated, [])
  const taken = atProviders.messages.filter(({ direction }) => direction === 'outbound')
  check('Effects at the providers', taken.length, accepted.length)
  screen.table({
    head: ['Tenant', 'Channel', 'Provider', '', 'Messages', 'Effects per message', 'Callbacks taken'],
    rows: [...Map.groupBy(logged, keyOf).values()].map((group) => rowOf(group, atProviders)),
    numbers: [],
  })
  const rows: string[][] = []
  for (const player of players) rows.push(await countEvents(player))
  screen.table({
    head: ['Backend', 'Events sent', 'Received', 'Signatures verified', 'Forgeries refused'],
    rows,
    numbers: [1, 2, 3, 4],
  })
  const events = rows.reduce((total, row) => total + Number(row[1]), 0)
  return `${logged.length} messages, ${taken.length} effects, ${events} events`
}

/** Oldest first. The statistics are counted from the same messages and must agree. */
async function readLog({ product, pipecore }: Player): Promise<LoggedMessage[]> {
  const path = `/messaging/logs/${product.tenantId}?limit=200`
  const { data } = await pipecore<{ data: LoggedMessage[] }>('GET', path)
  const { totals } = await pipecore<{ totals: { sent: number; received: number } }>(
    'GET',
    `/messaging/stats/${product.tenantId}`,
  )
  const sent = data.filter(({ direction }) => direction === 'out').length
  const counted = { sent: totals.sent, received: totals.received }
  check(`Statistics of ${product.tenantId}`, counted, { sent, received: data.length - sent })
  return data.toReversed()
}

function idsOf(list: ReadonlyArray<{ id: string }>): string[] {
  return list.map(({ id }) => id)
}

function keyOf({ tenant_id: tenant, channel, provider, direction }: LoggedMessage): string {
  return [tenant, channel, provider, direction].join(' ')
}

function rowOf(group: readonly LoggedMessage[], { effects, messages }: AtProviders): string[] {
  const [{ tenant_id: tenant, channel, provider, direction }] = group as [LoggedMessage]
  const callbacks = group.flatMap(({ id, provider_message_id: providerId }) => {
    return messages.find((one) => one.reference === id || one.id === providerId)?.callbacks ?? []
  })
  const taken = callbacks.filter(({ state }) => state === 'delivered').length
  check(`Callbacks of ${providerNames[provider]} that PipeCore took for ${tenant}`, taken, callbacks.length)
  const statuses = [...Map.groupBy(group, ({ status }) => status)]
  const isOut = direction === 'out'
  return [
    tenant,
    channelNames[channel],
    providerNames[provider],
    isOut ? '→' : '←',
    statuses.map(([status, ones]) => `${ones.length} ${status}`).join(', '),
    isOut ? [...new Set(group.map(({ id }) => effects[id]))].join(', ') : '',
    `${taken} of ${callbacks.length}`,
  ]
}

/** Waits for events still on their way: what PipeCore recorded must be what the backend has. */
async function countEvents(player: Player): Promise<string[]> {
  const { product, backend } = player
  const recorded = await listEvents(player)
  await backend.waitFor(`Events of ${product.name}`, () => true, recorded.length)
  checkSame(`Events of ${product.name}`, idsOf(backend.events), idsOf(recorded))
  const { verified, refused } = backend.counts
  return [product.name, ...[recorded.length, backend.events.length, verified, refused].map(String)]
}

async function listEvents({ product, pipecore }: Player): Promise<Array<{ id: string }>> {
  const events: Array<{ id: string }> = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const path: string = `/webhooks/events?limit=200&tenant_id=${product.tenantId}${cursor && `&cursor=${cursor}`}`
    const page = await pipecore<{ data: Array<{ id: string }>; next_cursor: string | null }>('GET', path)
    events.push(...page.data)
    cursor = page.next_cursor
  }
  return events
}
