import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, describe, test } from 'node:test'
import pg from 'pg'
import type { BadRequest } from './bad-requests/bad-request.ts'
import { callerRequests, transportRequests } from './bad-requests/callers.ts'
import { messageRequests } from './bad-requests/messages.ts'
import { platformRequests } from './bad-requests/platform.ts'
import { settingsRequests } from './bad-requests/settings.ts'
import { goodWebhooks, hooksConfigs, hooksTenants, webhookRequests } from './bad-requests/webhooks.ts'
import { assertNoSecrets } from './secrets.ts'
import { type Client, createClient, eventually, startPipeCore, startSandbox } from './harness.ts'

// Registered first, to be closed before its database is dropped.
after(() => database.end())
const sandbox = await startSandbox({ after })
// Without workers nothing but the requests themselves can write.
const pipecore = await startPipeCore(
  { after },
  { sandbox, role: 'api', env: { PIPECORE_ALLOW_PRIVATE_ENDPOINTS: 'false' } },
)
const admin = createClient(pipecore.url, pipecore.adminKey)
const nobody = admin.as(undefined)
const database = new pg.Client({
  connectionString: pipecore.databaseUrl,
  options: '-c search_path=pipecore,public',
})
await database.connect()

const callers = await makeCallers()
const own = await makeOwnThings()

const requests: Record<string, BadRequest[]> = {
  messages: messageRequests,
  settings: settingsRequests,
  'tenants, keys, endpoints and lists': platformRequests,
  'callers without the right': callerRequests(await makeSpentKeys()),
  'what is no request': transportRequests,
  'webhooks nobody sent': webhookRequests(pipecore.url),
}

await watchTables()

test('there are at least 200 of them', () => {
  assert.ok(Object.values(requests).flat().length >= 200)
})

for (const [group, rows] of Object.entries(requests)) {
  describe(`${group}: refused with what is wrong, and nothing is stored`, () => {
    for (const row of rows) {
      test(row.name, async () => {
        const path = fillOwn(row.path)
        const answer = await callerOf(row).call<Problem | undefined>(
          row.method ?? 'POST',
          path,
          row.body,
          row.headers,
        )
        const written = await findWritten()
        const { status = 422, code = 'request_invalid', field } = row
        const problem = answer.body
        assert.equal(answer.status, status, answer.text.slice(0, 1000))
        assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/)
        assert.equal(problem?.code, code, answer.text.slice(0, 1000))
        assert.equal(problem.status, status)
        assert.match(problem.request_id, /^req_/)
        assert.ok(problem.detail.length > 10 && problem.title.length > 3, answer.text.slice(0, 1000))
        if (row.says !== undefined) assert.match(problem.detail, row.says)
        if (field !== undefined) {
          const error = problem.errors?.find((one) => one.field === field)
          assert.ok(error, `names no field ${field}: ${answer.text.slice(0, 1000)}`)
          assert.ok(error.message.length > 3)
        }
        assert.deepEqual(written, row.kept === true ? ['insert inbound_webhooks', `refused: ${field}`] : [])
      })
    }
  })
}

test('of many forged webhooks in a minute only some are kept, and every one is refused', async () => {
  const [forged] = webhookRequests(pipecore.url)
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => nobody.call('POST', forged?.path ?? '', forged?.body, forged?.headers)),
  )
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([403]))
  assert.ok((await findWritten()).length < 60)
})

describe('what is no HTTP', () => {
  const send = 'POST /messaging/send/sms HTTP/1.1\r\nHost: pipecore\r\nConnection: close\r\n'
  const noise: Array<[name: string, text: string]> = [
    ['a word', 'hola\r\n\r\n'],
    ['a TLS greeting', '\u0016\u0003\u0001\u0002\u0000\u0001\r\n\r\n'],
    ['a version that is none', 'GET / HTTP/9.9\r\nHost: pipecore\r\n\r\n'],
    ['two lengths', `${send}Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello`],
    ['a length that is a word', `${send}Content-Length: long\r\n\r\n`],
    ['a length and chunks', `${send}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a chunk that is none', `${send}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`],
    ['a NUL in a header', `${send}X-Name: a\u0000b\r\n\r\n`],
  ]

  for (const [name, text] of noise) {
    test(`${name} is answered 400 as a problem`, async () => {
      const answer = await sendRaw(text)
      const written = await findWritten()
      assert.match(answer, /^HTTP\/1\.1 400 /)
      assert.match(answer, /content-type: application\/problem\+json/i)
      assert.match(answer, /"code":"request_malformed"/)
      assert.deepEqual(written, [])
    })
  }

  function sendRaw(text: string): Promise<string> {
    const socket = connect(Number(new URL(pipecore.url).port), '127.0.0.1')
    const chunks: Buffer[] = []
    return new Promise((resolve, reject) => {
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.once('close', () => resolve(Buffer.concat(chunks).toString()))
      socket.once('error', reject)
      socket.setTimeout(15_000, () => socket.destroy())
      socket.write(text)
    })
  }
})

describe('the same, told rightly', () => {
  for (const { name, path, body, headers } of goodWebhooks(pipecore.url)) {
    test(`a webhook of ${name} that is not forged is taken`, async () => {
      const answer = await nobody.call('POST', path, body, headers)
      assert.equal(answer.status, 200, answer.text)
    })
  }

  test('the server never failed and still takes good requests, whose rows are noted', async () => {
    assert.ok(!/"level":[56]0/.test(pipecore.log()), 'the log holds errors')
    const message = { tenant_id: 'roe_789', to: '+56988888888', body: 'Hola' }
    await callers.product.ok('POST', '/messaging/send/sms', message)
    assert.ok((await findWritten()).includes('insert messages'))
  })
})

test('no secret stands in any log line, answer or row', async () => {
  const credentials = hooksConfigs.flatMap(({ credentials: given }) => Object.entries(given))
  const seeds = credentials.filter(([field]) => /token|secret|apiKey/i.test(field))
  await assertNoSecrets({ pipecore, client: admin, events: [] }, Object.fromEntries(seeds))
})

interface Problem {
  status: number
  code: string
  title: string
  detail: string
  request_id: string
  errors?: Array<{ field: string; message: string }>
}

async function makeCallers(): Promise<Record<'product' | 'tenant' | 'stranger', Client>> {
  for (const [product, ...tenants] of [
    ['roe', 'roe_789', 'roe_790', ...hooksTenants],
    ['genda', 'genda_456'],
  ] as Array<[string, ...string[]]>) {
    await admin.ok('POST', '/products', { id: product, name: product })
    for (const id of tenants) await admin.ok('POST', '/tenants', { id, product_id: product, name: id })
  }
  const keyOf = async (path: string) => admin.as((await admin.ok<{ key: string }>('POST', path, {})).key)
  return {
    product: await keyOf('/products/roe/keys'),
    tenant: await keyOf('/tenants/roe_789/keys'),
    stranger: await keyOf('/tenants/genda_456/keys'),
  }
}

async function makeOwnThings(): Promise<{ endpoint: string; event: string }> {
  const { product } = callers
  const endpoint = await product.ok<{ id: string }>('POST', '/webhooks/endpoints', {
    url: 'https://example.com/hooks',
    product_id: 'roe',
  })
  const configs = [
    ...hooksConfigs.map((config) => ({ ...config, tenantId: `hooks_${config.provider}` })),
    {
      tenantId: 'roe_789',
      channel: 'sms',
      provider: 'twilio',
      credentials: { accountSid: 'AC_roe', authToken: 'fake_roe_token', phoneNumber: '+15005550006' },
    },
    {
      tenantId: 'roe_789',
      channel: 'email',
      provider: 'sendgrid',
      credentials: { apiKey: 'SG.fake_roe_key', fromEmail: 'noreply@roe.com' },
    },
  ]
  for (const config of configs) await product.ok('POST', '/messaging/config/provider', config)
  await product.ok('PUT', '/messaging/templates/roe_789/pedido/es', { text: 'Hola {{nombre}}' })
  await product.ok('POST', '/messaging/suppressions/roe_789', {
    channel: 'email',
    address: 'nadie@email.com',
  })
  const message = { tenant_id: 'roe_789', to: '+56988888888', body: 'Hola' }
  const { id } = await product.ok<{ id: string }>('POST', '/messaging/send/sms', message)
  const { data } = await product.ok<{ data: Array<{ id: string }> }>('GET', `/webhooks/events?entity=${id}`)
  return { endpoint: endpoint.id, event: data[0]?.id ?? '' }
}

async function makeSpentKeys() {
  const make = (input: object) => admin.ok<{ id: string; key: string }>('POST', '/products/roe/keys', input)
  const readOnly = await make({ scopes: ['messaging:read', 'keys:write'] })
  const deleted = await make({})
  await admin.ok('DELETE', `/products/roe/keys/${deleted.id}`)
  const expired = await make({ expires_at: new Date(Date.now() + 2_000).toISOString() })
  await eventually(async () => (await admin.as(expired.key).call('GET', '/tenants')).status === 401)
  await admin.as(readOnly.key).ok('GET', '/messaging/logs/roe_789')
  for (const caller of Object.values(callers)) await caller.ok('GET', '/tenants')
  return { expired: expired.key, deleted: deleted.key, readOnly: readOnly.key }
}

function callerOf({ as }: BadRequest): Client {
  if (as === undefined) return callers.product
  if (as === 'nobody') return nobody
  if (as === 'admin') return admin
  return typeof as === 'string' ? callers[as] : admin.as(as.key)
}

function fillOwn(path: string): string {
  return path.replace('end_own', own.endpoint).replace('evt_own', own.event)
}

/** From now on every row that is committed anywhere is noted. */
async function watchTables(): Promise<void> {
  await database.query(`
    create schema acceptance;
    create table acceptance.writes (what text not null);
    create function acceptance.note() returns trigger language plpgsql security definer as $$
    begin
      insert into acceptance.writes values (lower(tg_op) || ' ' || tg_argv[0]);
      return null;
    end $$`)
  const { rows } = await database.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'pipecore' and c.relkind in ('r', 'p') and not c.relispartition`,
  )
  assert.ok(rows.length > 15)
  const triggers = rows.map(
    ({ name }) =>
      `create trigger note after insert or update or delete on ${name} for each row execute function acceptance.note('${name}')`,
  )
  await database.query(triggers.join(';'))
}

/** What was written since it was asked last. That a key was used is noted once a minute and no business of ours. */
async function findWritten(): Promise<string[]> {
  const { rows } = await database.query<{ what: string }>('delete from acceptance.writes returning what')
  const written = rows.map(({ what }) => what).filter((what) => what !== 'update api_keys')
  return written.includes('insert inbound_webhooks') ? [...written, await readLastWebhook()] : written
}

async function readLastWebhook(): Promise<string> {
  const { rows } = await database.query<{ state: string; failed_check: string | null }>(
    'select state, failed_check from inbound_webhooks order by id desc limit 1',
  )
  return `${rows[0]?.state}: ${rows[0]?.failed_check}`
}
