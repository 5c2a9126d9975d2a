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
import { startTestServer, type TestServer } from '../server/testing/server.ts'

const script = fileURLToPath(new URL('./rotate-keys.ts', import.meta.url))
const tokens = { tableflow_123: 'twilio_token_of_tableflow', genda_7: 'twilio_token_of_genda' }
const tenantIds = Object.keys(tokens) as Array<keyof typeof tokens>

test('all data keys come under the new key while the server sends; then the old key is not needed', async (t) => {
  const keys = { old: generateMasterKey(), next: generateMasterKey() }
  const stack = lastFirst(t)
  const first = await startTestServer(stack, { settings: { PIPECORE_MASTER_KEY: keys.old } })
  await connectTenants(first)
  await addDataKeys(first.ownerUrl, keys.old, 1200)
  await first.server.stop()

  const both = { PIPECORE_MASTER_KEY: keys.next, PIPECORE_MASTER_KEY_PREVIOUS: keys.old }
  const during = await startTestServer(stack, { settings: { DATABASE_URL: first.ownerUrl, ...both } })
  const rotation = runRotation({ DATABASE_URL: first.ownerUrl, ...both })
  const sent = [await sendFromAll(during)]
  let rotated: Rotation | undefined
  void rotation.then((result) => (rotated = result))
  while (rotated === undefined) sent.push(await sendFromAll(during))
  assert.equal(rotated.exitCode, 0, rotated.output)
  assert.match(rotated.output, /left under another master key: 7\d\d\n[^]*master key: 2\d\d\n[^]*master key: 0\n$/)
  assert.deepEqual([...new Set(sent.flat())], ['sent'])
  await during.server.stop()

  const after = await startTestServer(stack, {
    settings: { DATABASE_URL: first.ownerUrl, PIPECORE_MASTER_KEY: keys.next },
  })
  assert.deepEqual(await sendFromAll(after), ['sent', 'sent'])
  await after.server.stop()

  const again = await runRotation({ DATABASE_URL: first.ownerUrl, PIPECORE_MASTER_KEY: keys.next })
  assert.deepEqual(again, { exitCode: 0, output: 'Data keys left under another master key: 0\n' })
})

test('without the previous key nothing is rotated, and the missing key is named', async (t) => {
  const old = generateMasterKey()
  const { ownerUrl, ...server } = await startTestServer(t, { settings: { PIPECORE_MASTER_KEY: old } })
  await connectTenants({ ownerUrl, ...server })
  const result = await runRotation({ DATABASE_URL: ownerUrl, PIPECORE_MASTER_KEY: generateMasterKey() })
  assert.equal(result.exitCode, 1)
  assert.match(result.output, new RegExp(`the id ${parseMasterKey(old).id};`))
  assert.deepEqual(await sendFromAll({ ownerUrl, ...server }), ['sent', 'sent'])
})

test('credentials moved to another tenant do not open, and the answer shows none', async (t) => {
  const server = await startTestServer(t, { settings: { PIPECORE_LOG_LEVEL: 'silent' } })
  await connectTenants(server)
  await asSuperuser(server.ownerUrl, (owner) =>
    owner.query(`update connections set sealed_credentials = other.sealed_credentials
      from connections other where other.tenant_id <> connections.tenant_id`),
  )
  for (const tenantId of tenantIds) {
    const { status, body } = await server.api.call('GET', `/messaging/config/${tenantId}`)
    assert.deepEqual([status, body.code], [500, 'secret_unreadable'])
    for (const token of Object.values(tokens)) assert.ok(!JSON.stringify(body).includes(token))
  }
})

test('the embedded database is rotated beside the server that runs it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-rotate-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const settings = { PIPECORE_DATA: folder, PIPECORE_LOG_LEVEL: 'silent', PORT: '0' }
  const first = await startServer(loadConfig(settings, providerIds))
  await addDataKeys(await runningUrl(first.context.database), '', 0)
  await first.stop()
})
