import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { loadConfig } from '../server/core/config.ts'
import { createDataKey, generateMasterKey, parseMasterKey } from '../server/core/sealing.ts'
import { providerIds } from '../server/modules.ts'
import { startServer } from '../server/server.ts'
import { createTestApi } from '../server/testing/api.ts'
import { startTestServer, type TestServer } from '../server/testing/server.ts'
import { findFreePort } from '../sandbox/free-port.ts'

const script = fileURLToPath(new URL('./rotate-keys.ts', import.meta.url))
const tokens = { tableflow_123: 'twilio_token_of_tableflow', genda_7: 'twilio_token_of_genda' }
/** A server that stops may wait for connections that are kept open. */
const ownConnection = { connection: 'close' }
const tenantIds = Object.keys(tokens) as Array<keyof typeof tokens>

test('all data keys come under the new key while the server sends; then the old key is not needed', async (t) => {
  const keys = { old: generateMasterKey(), next: generateMasterKey() }
  const stack = lastFirst(t)
  const first = await startTestServer(stack, { settings: { PIPECORE_MASTER_KEY: keys.old } })
  await connectTenants(first)
  await addDataKeys(first.ownerUrl, keys.old, 1200)
  await end(first)

  const both = { PIPECORE_MASTER_KEY: keys.next, PIPECORE_MASTER_KEY_PREVIOUS: keys.old }
  const during = await startTestServer(stack, { settings: { DATABASE_URL: first.ownerUrl, ...both } })
  const rotation = runRotation({ DATABASE_URL: first.ownerUrl, ...both })
  const sent = [await sendFromAll(during)]
  let rotated: Rotation | undefined
  void rotation.then((result) => (rotated = result))
  while (rotated === undefined) sent.push(await sendFromAll(during))
  assert.equal(rotated.exitCode, 0, rotated.output)
  assert.match(
    rotated.output,
    /left under another master key: 7\d\d\n[^]*master key: 2\d\d\n[^]*master key: 0\n$/,
  )
  assert.ok(sent.length > 1 && sent.flat().every(Boolean), JSON.stringify(sent))
  await end(during)

  const after = await startTestServer(stack, {
    settings: { DATABASE_URL: first.ownerUrl, PIPECORE_MASTER_KEY: keys.next },
  })
  assert.deepEqual(await sendFromAll(after), [true, true])
  await end(after)

  const again = await runRotation({ DATABASE_URL: first.ownerUrl, PIPECORE_MASTER_KEY: keys.next })
  assert.deepEqual(again, { exitCode: 0, output: 'Data keys left under another master key: 0\n' })
})

test('without the previous key nothing is rotated, and the missing key is named', async (t) => {
  const old = generateMasterKey()
  const server = await startTestServer(t, { settings: { PIPECORE_MASTER_KEY: old } })
  await connectTenants(server)
  const result = await runRotation({
    DATABASE_URL: server.ownerUrl,
    PIPECORE_MASTER_KEY: generateMasterKey(),
  })
  assert.equal(result.exitCode, 1)
  assert.match(result.output, new RegExp(`the id ${parseMasterKey(old).id};`))
  assert.deepEqual(await sendFromAll(server), [true, true])
  await end(server)
})

test('credentials moved to another tenant do not open, and the answer shows none', async (t) => {
  const server = await startTestServer(t, { settings: { PIPECORE_LOG_LEVEL: 'silent' } })
  await connectTenants(server)
  await asSuperuser(server.ownerUrl, (owner) =>
    owner.query(`update connections set sealed_credentials = other.sealed_credentials
      from connections other where other.tenant_id <> connections.tenant_id`),
  )
  for (const tenantId of tenantIds) {
    const { status, body } = await server.api.call(
      'GET',
      `/messaging/config/${tenantId}`,
      undefined,
      ownConnection,
    )
    assert.deepEqual([status, body.code], [500, 'secret_unreadable'])
    for (const token of Object.values(tokens)) assert.ok(!JSON.stringify(body).includes(token))
  }
})

test('the embedded database is rotated beside the server that runs it, and when none does', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-rotate-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const adminKey = 'admin_key_of_a_test_only_0001'
  const start = async (keys: Record<string, string>) => {
    const settings = {
      PIPECORE_DATA: folder,
      PIPECORE_ADMIN_KEY: adminKey,
      PORT: String(await findFreePort()),
    }
    const server = await startServer(
      loadConfig({ ...settings, PIPECORE_LOG_LEVEL: 'error', ...keys }, providerIds),
    )
    t.after(() => server.stop())
    return { server, api: createTestApi(server.url, adminKey) }
  }
  const first = await start({})
  await connectTenants(first)
  await first.server.stop()

  const old = (await readFile(join(folder, 'master-key'), 'utf8')).trim()
  const next = generateMasterKey()
  const both = { PIPECORE_MASTER_KEY: next, PIPECORE_MASTER_KEY_PREVIOUS: old }
  const during = await start(both)
  const beside = await runRotation({ PIPECORE_DATA: folder, ...both })
  assert.deepEqual(beside, { exitCode: 0, output: 'Data keys left under another master key: 0\n' })
  const { status } = await during.api.call(
    'GET',
    `/messaging/config/${tenantIds[0]}`,
    undefined,
    ownConnection,
  )
  assert.equal(status, 200)
  await during.server.stop()

  const alone = await runRotation({ PIPECORE_DATA: folder, PIPECORE_MASTER_KEY: next })
  assert.deepEqual(alone, { exitCode: 0, output: 'Data keys left under another master key: 0\n' })
})

test('a folder without a database is not filled with one', async () => {
  const result = await runRotation({ PIPECORE_DATA: join(tmpdir(), 'pipecore-there-is-none') })
  assert.equal(result.exitCode, 1)
  assert.match(result.output, /There is no database in .*pipecore-there-is-none/)
})

async function connectTenants({ api }: Pick<TestServer, 'api'>): Promise<void> {
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' }, ownConnection)
  for (const tenantId of tenantIds) {
    const tenant = { id: tenantId, product_id: 'tableflow', name: tenantId }
    await api.call('POST', '/tenants', tenant, ownConnection)
    const credentials = {
      accountSid: `AC_${tenantId}`,
      authToken: tokens[tenantId],
      phoneNumber: '+15005550006',
    }
    const config = { tenantId, channel: 'sms', provider: 'twilio', credentials }
    const { status, body } = await api.call('POST', '/messaging/config/provider', config, ownConnection)
    assert.equal(status, 200, JSON.stringify(body))
  }
}

/** Whether the provider took a message of each tenant. */
async function sendFromAll({ api }: Pick<TestServer, 'api'>): Promise<boolean[]> {
  const answers = tenantIds.map((tenantId) =>
    api.call(
      'POST',
      '/messaging/send/sms?wait=5',
      { tenant_id: tenantId, to: '+56988888888', body: 'Hola' },
      ownConnection,
    ),
  )
  return (await Promise.all(answers)).map(({ body }) => typeof body.provider_message_id === 'string')
}

/** The providers first: the connections of callbacks under way would hold the server. */
async function end({ sandbox, server }: TestServer): Promise<void> {
  await sandbox.close()
  await server.stop()
}

/** Data keys of tenants long gone, so that the rotation takes several batches. */
async function addDataKeys(ownerUrl: string, masterKey: string, count: number): Promise<void> {
  const masterKeys = { current: parseMasterKey(masterKey) }
  const rows = Array.from({ length: count }, (_, index) => {
    const owner = `product:old_${index}`
    return { owner, tenant_id: null, ...createDataKey(masterKeys, owner) }
  })
  await asSuperuser(ownerUrl, (owner) =>
    owner.query(
      `insert into data_keys (owner, kek_id, wrapped)
       select owner, "kekId", wrapped from json_to_recordset($1) as row(owner text, "kekId" text, wrapped text)`,
      [JSON.stringify(rows)],
    ),
  )
}

async function asSuperuser(url: string, work: (owner: pg.Client) => Promise<unknown>): Promise<void> {
  const owner = new pg.Client({ connectionString: url, options: '-c search_path=pipecore' })
  await owner.connect()
  try {
    await work(owner)
  } finally {
    await owner.end()
  }
}

interface Rotation {
  exitCode: number
  output: string
}

function runRotation(settings: Record<string, string>): Promise<Rotation> {
  const env = { PATH: process.env.PATH, ...settings }
  return new Promise((resolve) => {
    execFile(process.execPath, [script], { env }, (error, stdout, stderr) => {
      resolve({ exitCode: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr })
    })
  })
}

/** Ends what was started last first: servers before the database they share. */
function lastFirst(test: TestContext): { after(work: () => Promise<void>): void } {
  const ends: Array<() => Promise<void>> = []
  test.after(async () => {
    for (const end of ends.toReversed()) await end()
  })
  return { after: (work) => void ends.push(work) }
}
