import { type Client, eventually } from '../harness.ts'
import type { Installation } from './installation.ts'
import { tenants } from './routes.ts'

export interface MessageView {
  id: string
  tenant_id: string
  direction: 'out' | 'in'
  channel: string
  provider: string
  status: string
  reference: string | null
  auto_reply: string | null
  provider_message_id: string | null
}

export interface EventView {
  id: string
  type: string
  tenant_id: string
  entity: string
  /** Exactly what was signed. */
  body: string
}

export interface Story {
  status: string
  attempts: Array<{ attempt: number; outcome: string | null }>
}

export interface SandboxMessage {
  id: string
  provider: string
  direction: 'outbound' | 'inbound'
  reference: string | null
  effect_id: string
  text: string | null
  fault: string | null
}

/** Everything that PipeCore and the outside world remember once all is quiet. */
export interface Facts {
  messages: MessageView[]
  events: EventView[]
  /** Ids of the events as the API lists them. */
  listedEvents: string[]
  /** Calls to providers whose end nobody wrote down, by message. */
  openAttempts: string[]
  deadWork: string[]
  /** Messages that a job looks after until it is known whether they went out. */
  healing: string[]
  /** What is still to be done, and why it is not done yet. */
  openWork: string[]
  sandboxMessages: SandboxMessage[]
  callbacks: Array<{ provider: string; state: string; attempts: unknown[] }>
}

export async function collectFacts({ admin, api, sandbox }: Installation): Promise<Facts> {
  const logs = await Promise.all(
    tenants.map(({ tenantId }) => readPages<MessageView>(admin, `/messaging/logs/${tenantId}`)),
  )
  const listed = await readPages<{ id: string }>(admin, '/webhooks/events')
  const events = await api.query('select id, type, tenant_id, entity, body from events')
  const endless = await api.query('select message_id from message_attempts where outcome is null')
  const dead = await api.query('select kind, ref, error from dead_work')
  const open = await api.query(openWorkQuery)
  const healing = await api.query(`
    select payload::json ->> 'message_id' as id from work join jobs on jobs.id = work.ref
    where jobs.name = 'messaging.heal_message'`)
  const { messages } = await sandbox.control<{ messages: SandboxMessage[] }>('GET', '/messages?limit=100000')
  const { callbacks } = await sandbox.control<Pick<Facts, 'callbacks'>>('GET', '/callbacks?limit=100000')
  return {
    messages: logs.flat(),
    events: events as unknown as EventView[],
    listedEvents: listed.map(({ id }) => id),
    openAttempts: endless.map((row) => String(row['message_id'])),
    deadWork: dead.map((row) => [row['kind'], row['ref'], row['error']].map(String).join(' ')),
    healing: healing.map((row) => String(row['id'])),
    openWork: open.map((row) => String(row['words'])),
    sandboxMessages: messages,
    callbacks,
  }
}

const openWorkQuery = `
  select concat_ws(' ', coalesce(jobs.name, work.kind), work.ref, 'attempt', work.attempts, 'due in',
    extract(epoch from run_at - now())::int, 's, leased for', extract(epoch from lease_until - now())::int, 's',
    (select string_agg(concat_ws(' ', attempt, status, error), ', ' order by id)
     from delivery_attempts where delivery_id = work.id)) as words
  from work left join jobs on jobs.id = work.ref
  where work.lane <> '*' and jobs.name is distinct from 'messaging.heal_message'`

export function readStory({ admin }: Installation, messageId: string): Promise<Story> {
  return read<Story>(admin, `/messaging/messages/${messageId}`)
}

interface Page<Item> {
  data: Item[]
  next_cursor: string | null
}

async function readPages<Item>(admin: Client, path: string): Promise<Item[]> {
  const items: Item[] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = `limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`
    const page: Page<Item> = await read<Page<Item>>(admin, `${path}?${query}`)
    items.push(...page.data)
    cursor = page.next_cursor
  }
  return items
}

/** Connections kept from before a kill are found dead by the first call on each. */
function read<Body>(admin: Client, path: string): Promise<Body> {
  return eventually(() => admin.ok<Body>('GET', path)) as Promise<Body>
}
