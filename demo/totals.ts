import { check } from './check.ts'
import { channelNames, type Message, type Player, providerNames, type Scene } from './steps.ts'

interface LoggedMessage extends Message {
  tenant_id: string
  provider_message_id: string | null
}

interface SandboxMessage {
  id: string
  reference: string | null
  callbacks: Array<{ state: string }>
}

interface AtProviders {
  /** Message id → calls that took effect. */
  effects: Record<string, number>
  messages: SandboxMessage[]
}

/** Compares what was asked for with what PipeCore, the providers and the backends know, and shows the counts. */
export async function showTotals(
  scene: Scene,
  players: readonly Player[],
  accepted: readonly Message[],
): Promise<void> {
  const { screen, sandbox } = scene
  const logged: LoggedMessage[] = []
  for (const { pipecore, product } of players) {
    const path = `/messaging/logs/${product.tenantId}?limit=200`
    logged.push(...(await pipecore<{ data: LoggedMessage[] }>('GET', path)).data.toReversed())
  }
  const sent = logged.filter(({ direction }) => direction === 'out').map(({ id }) => id)
  check('Every message, and no other', sent.toSorted(), accepted.map(({ id }) => id).toSorted())
  const atProviders = await sandbox<AtProviders>('GET', '/sandbox/messages?limit=10000')
  const once = Object.fromEntries(accepted.map(({ id }) => [id, 1]))
  check('Effects at the providers: one per message', atProviders.effects, once)
  screen.table({
    head: ['Tenant', 'Channel', 'Provider', '', 'Messages', 'Status', 'Effects', 'Callbacks taken'],
    rows: [...Map.groupBy(logged, keyOf).values()].map((group) => rowOf(group, atProviders)),
    right: [4],
  })
  screen.note('')
  const rows: string[][] = []
  for (const player of players) rows.push(await countEvents(player))
  screen.table({
    head: ['Backend', 'Events sent', 'Received', 'Signatures verified', 'Forgeries refused'],
    rows,
    right: [1, 2, 3, 4],
  })
}

function keyOf({ tenant_id: tenant, channel, provider, direction }: LoggedMessage): string {
  return [tenant, channel, provider, direction].join(' ')
}

function rowOf(group: readonly LoggedMessage[], { effects, messages }: AtProviders): string[] {
  const [{ tenant_id: tenant, channel, provider, direction }] = group as [LoggedMessage]
  const statuses = [...Map.groupBy(group, ({ status }) => status)]
  const callbacks = group.flatMap(({ id, provider_message_id: providerId }) => {
    return messages.find((one) => one.reference === id || one.id === providerId)?.callbacks ?? []
  })
  const taken = callbacks.filter(({ state }) => state === 'delivered').length
  check(`Callbacks of ${providerNames[provider]} that PipeCore took for ${tenant}`, taken, callbacks.length)
  return [
    tenant,
    channelNames[channel],
    providerNames[provider],
    direction,
    String(group.length),
    statuses.map(([status, ones]) => `${ones.length} ${status}`).join(', '),
    direction === 'in' ? '' : `${group.filter(({ id }) => effects[id] === 1).length} × 1`,
    `${taken} of ${callbacks.length}`,
  ]
}

/** Waits for events still on their way: what PipeCore recorded must be what the backend has. */
async function countEvents({ product, pipecore, backend }: Player): Promise<string[]> {
  const recorded = await listEventIds({ product, pipecore, backend })
  await backend.waitFor(`Events of ${product.name}`, () => true, recorded.length)
  const received = backend.events.map(({ id }) => id)
  check(`Events of ${product.name}`, received.toSorted(), recorded.toSorted())
  const { verified, refused } = backend.counts
  return [product.name, ...[recorded.length, received.length, verified, refused].map(String)]
}

async function listEventIds({ product, pipecore }: Player): Promise<string[]> {
  const ids: string[] = []
  let cursor = ''
  do {
    const path = `/webhooks/events?limit=200&tenant_id=${product.tenantId}${cursor && `&cursor=${cursor}`}`
    const page = await pipecore<{ data: Array<{ id: string }>; next_cursor: string | null }>('GET', path)
    ids.push(...page.data.map(({ id }) => id))
    cursor = page.next_cursor ?? ''
  } while (cursor !== '')
  return ids
}
