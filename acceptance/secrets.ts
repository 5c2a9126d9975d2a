import assert from 'node:assert/strict'
import { setProvider, switches } from './mission-examples.ts'
import type { Client, PipeCore } from './harness.ts'
import type { ReceivedEvent } from './backend.ts'

/** Everywhere something could leak to. */
export interface Places {
  pipecore: PipeCore
  client: Client
  events: readonly ReceivedEvent[]
}

/** Name → secret. */
export type Seeds = Readonly<Record<string, string>>

const secretFields = ['authToken', 'apiKey', 'accessToken', 'verifyToken', 'appSecret', 'webhookSecret']
/** The answers that show a new secret, each its own and once. */
const makers = /^POST \/(products|tenants)\/[^/]+\/keys$|^POST \/webhooks\/endpoints(\/[^/]+\/rotate)?$/

/** The mission's credentials and what the installation itself runs on. */
export function seedsOf(pipecore: PipeCore): Seeds {
  const configs = Object.entries({ ...setProvider, ...switches })
  const credentials = configs.flatMap(([name, config]) =>
    Object.entries(config.credentials as Record<string, string>)
      .filter(([field]) => secretFields.includes(field))
      .map(([field, secret]) => [`${name}.${field}`, secret]),
  )
  return {
    ...Object.fromEntries(credentials),
    adminKey: pipecore.adminKey,
    masterKey: pipecore.env['PIPECORE_MASTER_KEY'] ?? '',
    databasePassword: decodeURIComponent(new URL(pipecore.databaseUrl).password),
  }
}

/** Fails when a secret stands in the log, an answer, an event or a row, in whatever way it is written. */
export async function assertNoSecrets(places: Places, seeds: Seeds): Promise<void> {
  const { pipecore, client, events } = places
  const log = pipecore.log()
  const received = events.map(({ text, path }) => `${path} ${text}`)
  const rows = await readRows(pipecore)
  assert.ok(log.includes('PipeCore is running') && rows.length > 0 && client.exchanges.length > 0)
  const found: string[] = []
  for (const [name, secret] of Object.entries(seeds)) {
    assert.ok(secret.length >= 8, `${name} is no secret`)
    const forms = writeForms(secret)
    const holds = (text: string) => forms.some((form) => text.includes(form))
    const tell = (place: string, text: string) => found.push(`${name} in ${place}: ${excerpt(text, forms)}`)
    if (holds(log)) tell('the log', log)
    for (const text of received) if (holds(text)) tell('an event', text)
    for (const { table, text } of rows) if (holds(text)) tell(`a row of ${table}`, text)
    const answers = client.exchanges.filter(({ text }) => holds(text))
    const own = answers.findIndex(({ method, path }) => makers.test(`${method} ${path}`))
    for (const [index, { method, path, text }] of answers.entries()) {
      if (index !== own) tell(`the answer to ${method} ${path}`, text)
    }
  }
  assert.deepEqual(found, [])
}

/** As it is, and as it could hide in base64, hex, a URL or JSON. */
function writeForms(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const inside = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replaceAll('=', '')
    return text.slice(Math.ceil((offset * 8) / 6), -1)
  })
  const inJson = JSON.stringify(secret).slice(1, -1)
  return [...new Set([secret, encodeURIComponent(secret), inJson, bytes.toString('hex'), ...inside])]
}

function excerpt(text: string, forms: readonly string[]): string {
  const at = Math.max(...forms.map((form) => text.indexOf(form)))
  return text.slice(Math.max(0, at - 150), at + 150)
}

async function readRows(pipecore: PipeCore): Promise<Array<{ table: string; text: string }>> {
  const tables = await pipecore.query(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'pipecore' and c.relkind in ('r', 'p') and not c.relispartition`,
  )
  const selects = tables.map(
    ({ name }) => `select '${String(name)}' as "table", t::text as text from ${String(name)} t`,
  )
  return (await pipecore.query(selects.join(' union all '))) as Array<{ table: string; text: string }>
}
