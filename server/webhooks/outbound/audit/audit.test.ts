import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import type { TestApi } from '../../../testing/api.ts'
import { type Receiver, startReceiver } from '../../../testing/receiver.ts'
import { startTestServer, type TestServer } from '../../../testing/server.ts'
import { happen } from '../replays/testing.ts'
import { until } from '../testing.ts'
import { type BlockHeader, spellHeader } from './block.ts'
import { forgetBlocks } from './forgetting.ts'
import { announceHeads } from './jobs.ts'
import { type Page, spellPage } from './page.ts'
import type { ChainHead } from './schema.ts'
import { sealAttempts } from './sealing.ts'
import { makeAuditKey, signText } from './signature.ts'
import type { Expectations } from './verification-run.ts'
import { verifyAudit } from './verification.ts'

const never = new AbortController().signal
const script = fileURLToPath(new URL('../../../../scripts/verify-audit.ts', import.meta.url))
const tables = [
  'delivery_attempts',
  'audit_blocks',
  'audit_leaves',
  'audit_chains',
  'audit_keys',
  'audit_checkpoints',
]

let server: TestServer
let own: TestApi
let tenant: TestApi
let receiver: Receiver
let owner: pg.Client
const cleanups: Array<() => Promise<void>> = []
const keep = { after: (work: () => Promise<void>) => void cleanups.push(work) }

before(async () => {
  server = await startTestServer(keep)
  receiver = await startReceiver(keep)
  await server.api.call('POST', '/products', { id: 'product_a', name: 'a' })
  await server.api.call('POST', '/products', { id: 'product_b', name: 'b' })
  for (const id of ['a', 'a2'])
    await server.api.call('POST', '/tenants', { id: `tenant_${id}`, product_id: 'product_a', name: id })
  own = await callerWith('/products/product_a/keys')
  tenant = await callerWith('/tenants/tenant_a/keys')
  await own.call('POST', '/webhooks/endpoints', { url: receiver.url, product_id: 'product_a', events: ['*'] })
  owner = new pg.Client({ connectionString: server.ownerUrl, options: '-c search_path=pipecore' })
  await owner.connect()
  owner.on('error', () => undefined)
  keep.after(() => owner.end())
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

async function callerWith(path: string): Promise<TestApi> {
  return server.api.as((await server.api.call<{ key: string }>('POST', path, {})).body.key)
}

/** Delivers events and puts their attempts into a block. */
async function addBlock(count: number, tenantId = 'tenant_a'): Promise<void> {
  const before = await countAttempts()
  await happen(server.server.context, 'audited.thing', count, { tenant: tenantId })
  await until(async () => (await countAttempts()) === before + count, 'not all were delivered')
  await sealAll()
}

/** Without those of announcements, which the minute's job may make. */
async function countAttempts(): Promise<number> {
  const { rows } = await owner.query<{ count: number }>(
    `select count(*)::int as count from delivery_attempts a join events e on e.id = a.event_id
     where e.type = 'audited.thing'`,
  )
  return rows[0]?.count ?? 0
}

/** The minute's job may be at it as well. */
async function sealAll(): Promise<void> {
  await until(async () => {
    await sealAttempts(server.server.context, never)
    const { rows } = await owner.query(
      'select from audit_horizon where sealed_place >= (select coalesce(max(place), 0) from delivery_attempts)',
    )
    return rows.length === 1
  }, 'not all could be sealed')
}

async function head(api = own, query = '?tenant_id=tenant_a'): Promise<ChainHead> {
  return (await api.call<ChainHead>('GET', `/webhooks/audit${query}`)).body
}

async function exported(query = 'tenant_id=tenant_a', key = server.adminKey): Promise<string> {
  let text = ''
  for (let after: number | null = 0; after !== null;) {
    const url = `${server.server.url}/webhooks/audit/export?${query}&after=${after}`
    const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } })
    assert.equal(answer.status, 200)
    assert.match(answer.headers.get('content-type') ?? '', /^application\/jsonl/)
    const page = await answer.text()
    text += page
    const last = JSON.parse(page.trimEnd().split('\n').at(-1) ?? '') as { next_after: number | null }
    after = last.next_after
  }
  return text
}

async function verify(text: string, expectations: Partial<Expectations> = {}) {
  async function* lines() {
    yield* text.split('\n')
  }
  return verifyAudit(lines(), { anchors: [], ...expectations })
}

async function backUp(): Promise<void> {
  for (const table of tables)
    await owner.query(`drop table if exists backup_${table}; create table backup_${table} as table ${table}`)
}

async function restore(): Promise<void> {
  for (const table of tables)
    await owner.query(`delete from ${table}; insert into ${table} select * from backup_${table}`)
}

/** Says that earlier attempts went by a wish of the tenant. */
async function keepOnlyFrom(tenantId: string, daysAhead: number | null): Promise<void> {
  await owner.query(
    `update tenants set kept_from = (now() at time zone 'UTC')::date + $2::int where id = $1`,
    [tenantId, daysAhead],
  )
}

/** What whoever has another key makes of a line. */
function signedAnew(
  line: { kind: string },
  { id, publicKey, privateKey }: ReturnType<typeof makeAuditKey>,
): object {
  if (line.kind === 'block')
    return { key_id: id, signature: signText(spellHeader(line as unknown as BlockHeader), privateKey) }
  if (line.kind !== 'chain') return {}
  const signature = signText(spellPage(line as unknown as Page), privateKey)
  return { key_id: id, public_key: publicKey, signature }
}

async function idAt(block: number): Promise<string> {
  const { rows } = await owner.query<{ leaves: string }>(
    `select leaves from audit_leaves where tenant_id = 'tenant_a' and number = $1`,
    [block],
  )
  return rows[0]?.leaves.split(' ')[0] ?? ''
}

describe('the audit chain', () => {
  before(async () => {
    for (const count of [3, 2, 4]) await addBlock(count)
    await addBlock(2, 'tenant_a2')
  })

  test('has every attempt, and its export verifies without a database', async () => {
    const verdict = await verify(await exported())
    assert.deepEqual([verdict.faults, verdict.attempts], [[], 9])
    assert.ok(verdict.blocks >= 3)
    const newest = await head()
    assert.deepEqual(verdict.last, { block: newest.block, hash: newest.hash })
    assert.equal(verdict.chain?.key_id, newest.key_id)
  })

  const named = (name: string) => async () => `${name} ${await idAt(2)}`
  const cases: Array<{ name: string; tamper: string; fault: (() => Promise<string>) | RegExp }> = [
    {
      name: 'a row that was changed',
      tamper: `update delivery_attempts set status = 500 where id = $1`,
      fault: named('block 2: attempt'),
    },
    {
      name: 'a body that was exchanged',
      tamper: `update delivery_attempts set body_sha256 = sha256('another') where id = $1`,
      fault: named('block 2: attempt'),
    },
    {
      name: 'a record of what was sent that was taken away',
      tamper: `update delivery_attempts set lookup_ms = null, connect_ms = null, first_byte_ms = null,
        body_sha256 = null, signature = null where id = $1`,
      fault: named('block 2: attempt'),
    },
    {
      name: 'a row that was removed',
      tamper: `delete from delivery_attempts where id = $1`,
      fault: /^block 2: attempt att_\w+ was removed$/,
    },
    {
      name: 'a row that was inserted',
      tamper: `insert into delivery_attempts (id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome,
          duration_ms, attempted_at, place)
        select id || 'x', delivery_id, event_id, endpoint_id, tenant_id, 9, 'dead', 1, now(), place
        from delivery_attempts where id = $1`,
      fault: /^block 2: attempt att_\w+x was inserted$/,
    },
    {
      name: 'a row that was moved to another tenant',
      tamper: `update delivery_attempts set tenant_id = 'tenant_a2' where id = $1`,
      fault: /^block 2: attempt att_\w+ was removed$/,
    },
    {
      name: 'hashes of rows that were changed along',
      tamper: `update audit_leaves set leaves = replace(leaves, $1, $1 || 'x') where number = 2`,
      fault: /^block 2: the hashes of its attempts were changed$/,
    },
    {
      name: 'a block that was changed',
      tamper: `update audit_blocks set attempts = attempts + 1 where number = 2 and $1 <> ''`,
      fault: /^block 2: it was changed: its hash does not fit$/,
    },
    {
      name: 'a block that was removed',
      tamper: `delete from audit_blocks where number = 2 and $1 <> ''`,
      fault: /^block 3: it follows block 1/,
    },
    {
      name: 'hashes of rows that were removed',
      tamper: `delete from audit_leaves where number = 2 and $1 <> ''`,
      fault: /^block 2: the hashes of its attempts were removed$/,
    },
    {
      name: 'the first block removed',
      tamper: `delete from audit_blocks where number = 1 and $1 <> ''`,
      fault: /^block 2: the blocks before it are missing$/,
    },
  ]
  for (const { name, tamper, fault } of cases) {
    test(`names ${name}`, async () => {
      await backUp()
      const expected = fault instanceof RegExp ? fault : new RegExp(`^${await fault()} was changed$`)
      await owner.query(tamper, [await idAt(2)])
      const { faults } = await verify(await exported())
      await restore()
      assert.match(faults[0] ?? 'no fault', expected)
      assert.deepEqual((await verify(await exported())).faults, [])
    })
  }

  test('blocks from before it was noted what they are about are exported whole', async () => {
    await backUp()
    await owner.query('update audit_leaves set event_ids = null where number > 1')
    const verdict = await verify(await exported())
    await restore()
    assert.deepEqual([verdict.faults, verdict.attempts], [[], 9])
  })

  test('names a tail that is missing, by a hash that was noted', async () => {
    const noted = await head()
    await backUp()
    await owner.query(`delete from audit_blocks where tenant_id = 'tenant_a' and number = $1`, [noted.block])
    const cut = await verify(await exported())
    assert.match(cut.faults[0] ?? '', /^it ends at block 2, but the chain goes on/)
    await owner.query(
      `update audit_chains c set last_number = b.number, last_hash = b.hash, last_place = b.last_place
        from audit_blocks b where b.tenant_id = 'tenant_a' and c.tenant_id = b.tenant_id and b.number = $1`,
      [noted.block - 1],
    )
    const text = await exported()
    await restore()
    assert.deepEqual((await verify(text)).faults, [], 'without a note nobody can tell')
    const { faults } = await verify(text, { anchors: [noted] })
    assert.match(faults[0] ?? '', new RegExp(`block ${noted.block} was noted: its tail is missing$`))
  })

  test('names a chain that was made anew with another key', async () => {
    const { key_id: key, block, hash } = await head()
    const forged = makeAuditKey()
    const text = (await exported())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown> & { kind: string })
      .map((line) => ({ ...line, ...signedAnew(line, forged) }))
      .map((line) => JSON.stringify(line))
      .join('\n')
    assert.deepEqual((await verify(text)).faults, [])
    const { faults } = await verify(text, { key, anchors: [{ block, hash }] })
    assert.match(faults[0] ?? '', /which is not the one that was noted$/)
    const signedByOther = (await exported()).replace(
      /"public_key":"[^"]+"/,
      `"public_key":"${forged.publicKey}"`,
    )
    assert.ok((await verify(signedByOther)).faults.includes('block 1: its signature does not fit'))
  })

  test('outlives attempts that are past their retention', async () => {
    await backUp()
    await owner.query(`delete from delivery_attempts where tenant_id = 'tenant_a'`)
    assert.ok((await verify(await exported())).faults.length > 0)
    await keepOnlyFrom('tenant_a', 2)
    const text = await exported()
    await owner.query(`delete from audit_leaves where number = 1`)
    const withoutLeaves = await exported()
    await restore()
    await keepOnlyFrom('tenant_a', null)
    for (const one of [text, withoutLeaves]) {
      const verdict = await verify(one)
      assert.deepEqual([verdict.faults, verdict.attempts, verdict.expired], [[], 0, 9])
    }
  })

  test('names a time since when attempts are kept that was changed', async () => {
    await backUp()
    await owner.query(`delete from delivery_attempts where id = $1`, [await idAt(2)])
    const text = await exported()
    await restore()
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const aged = text.replaceAll(/"attempts_kept_since":"[^"]+"/g, `"attempts_kept_since":"${later}"`)
    const { faults } = await verify(aged)
    assert.match(faults[0] ?? 'no fault', /^what a page says of itself was changed/)
  })

  test('is of one tenant: no other is in it or may read it', async () => {
    const text = await exported('', (await newKey('/tenants/tenant_a/keys')) ?? '')
    assert.doesNotMatch(text, /tenant_a2/)
    const stranger = await callerWith('/products/product_b/keys')
    const other = await callerWith('/tenants/tenant_a2/keys')
    for (const api of [stranger, other]) {
      for (const path of ['audit?tenant_id=tenant_a', 'audit/export?tenant_id=tenant_a'])
        assert.equal((await api.call('GET', `/webhooks/${path}`)).status, 404)
    }
    for (const api of [stranger, tenant])
      assert.equal((await api.call('GET', '/webhooks/audit/export?product_id=product_a')).status, 404)
    assert.equal((await server.api.call('GET', '/webhooks/audit')).status, 422)
    const theirs = await verify(await exported('tenant_id=tenant_a2'))
    assert.deepEqual([theirs.faults, theirs.attempts], [[], 2])
  })

  test('names a file that was cut between two blocks', async () => {
    const lines = (await exported()).trimEnd().split('\n')
    const lastBlock = lines.findLastIndex((line) => line.includes('"kind":"block"'))
    const { faults } = await verify(lines.slice(0, lastBlock).join('\n'))
    assert.ok(faults.includes('its last line is no end: it was cut'))
    assert.match(
      faults[0] ?? 'no fault',
      /^the page of \S+: it was exported with blocks 1 to 3, but has blocks 1 to 2$/,
    )
  })

  test('can be verified by the script', async (t) => {
    const file = await writeExport(t, await exported())
    const { block, hash, key_id: key } = await head()
    const good = spawnSync(process.execPath, [script, '--key', key, '--anchor', `${block}:${hash}`, file])
    assert.deepEqual([good.status, String(good.stderr)], [0, ''], String(good.stdout))
    const bad = spawnSync(process.execPath, [script, '--anchor', `${block + 1}:${hash}`, file])
    assert.equal(bad.status, 1)
    assert.match(String(bad.stdout), /its tail is missing/)
    const both = ['--anchor', `${block}:${'0'.repeat(64)}`, '--anchor', `${block}:${hash}`]
    const torn = spawnSync(process.execPath, [script, ...both, file])
    assert.equal(torn.status, 2)
    assert.match(String(torn.stderr), /was given with two hashes/)
    assert.equal(spawnSync(process.execPath, [script]).status, 2)
  })
})

async function newKey(path: string): Promise<string | undefined> {
  return (await server.api.call<{ key: string }>('POST', path, {})).body.key
}

async function writeExport(t: TestContext, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-audit-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'export.jsonl')
  await writeFile(file, text)
  return file
}

describe('sealing', () => {
  const insertLate = `insert into delivery_attempts (id, delivery_id, event_id, endpoint_id, tenant_id, attempt, outcome,
      duration_ms, attempted_at)
    select 'att_0000000000late', delivery_id, event_id, endpoint_id, tenant_id, 9, 'dead', 1, now()
    from delivery_attempts where tenant_id = 'tenant_a' limit 1`

  test('waits for whoever recorded an attempt and has not committed it', async () => {
    await addBlock(1)
    const { block } = await head()
    await owner.query('begin')
    await owner.query(insertLate)
    const heard = receiver.events.length
    await happen(server.server.context, 'audited.thing', 2)
    await until(() => receiver.events.length >= heard + 2, 'not delivered')
    await until(async () => (await countAttempts()) === 15, 'not all were recorded')
    await sealAttempts(server.server.context, never)
    await sealAttempts(server.server.context, never)
    assert.equal((await head()).block, block, 'a block would have gone past the attempt that is still open')
    await owner.query('commit')
    await sealAll()
    const text = await exported()
    assert.match(text, /"kind":"attempt","id":"att_0000000000late"/)
    assert.deepEqual((await verify(text)).faults, [])
  })

  test('goes on after the database was restored into a younger cluster', async () => {
    await addBlock(1)
    await owner.query('update audit_horizon set next_place = next_place + 1, next_transaction = 1e15')
    await addBlock(1)
    assert.deepEqual((await verify(await exported())).faults, [])
  })

  test('tells its newest hash, and does not go on about having told it', async () => {
    await addBlock(1)
    const { block, hash } = await head()
    await announceHeads(server.server.context, never)
    const told = await receiver.waitFor(
      ({ body }) => body.event === 'audit.sealed' && body['tenant_id'] === 'tenant_a',
    )
    assert.deepEqual([told.body['block'], told.body['hash']], [block, hash])
    await until(async () => {
      await sealAll()
      return (await head()).block > block
    }, 'its own delivery was not sealed')
    const { rows } = await owner.query(`select from audit_chains where tenant_id = 'tenant_a' and has_news`)
    assert.equal(rows.length, 0)
    await addBlock(1)
    const again = await owner.query(`select from audit_chains where tenant_id = 'tenant_a' and has_news`)
    assert.equal(again.rows.length, 1)
  })
})

describe('a chain whose first blocks are past their retention', () => {
  let noted: ChainHead
  let first: ChainHead

  before(async () => {
    await addBlock(2, 'tenant_a2')
    first = await head(own, '?tenant_id=tenant_a2')
    await addBlock(1, 'tenant_a2')
    noted = await head(own, '?tenant_id=tenant_a2')
    await keepOnlyFrom('tenant_a2', 2)
    assert.equal(await forgetBlocks(server.server.context, never), noted.block)
    await owner.query(`delete from delivery_attempts where tenant_id = 'tenant_a2'`)
  })

  const exportedRest = () => exported('tenant_id=tenant_a2')
  const faultOf = async (text: string) => (await verify(text)).faults[0] ?? 'no fault'

  test('verifies from a checkpoint on, with blocks behind it or without', async () => {
    const bare = await verify(await exportedRest(), { anchors: [noted] })
    assert.deepEqual([bare.faults, bare.blocks, bare.outdated], [[], 0, []])
    assert.ok(bare.expired >= 5, `${bare.expired} attempts went`)
    await addBlock(2, 'tenant_a2')
    const text = await exportedRest()
    const verdict = await verify(text, { anchors: [noted] })
    assert.deepEqual([verdict.faults, verdict.expired], [[], bare.expired])
    assert.ok(verdict.blocks > 0 && verdict.attempts >= 2)
    const other = await verify(text, { anchors: [{ block: noted.block, hash: 'another' }] })
    assert.match(other.faults[0] ?? 'no fault', /it is not the block that was noted$/)
    const old = await verify(text, { anchors: [first] })
    assert.match(old.faults[0] ?? 'no fault', /^it begins behind every block that was noted/)
    assert.deepEqual(old.outdated, [first])
  })

  test('moves its checkpoint on, and still has those that went in its count', async () => {
    const earlier = await verify(await exportedRest())
    assert.equal(await forgetBlocks(server.server.context, never), earlier.blocks)
    await owner.query(`delete from delivery_attempts where tenant_id = 'tenant_a2'`)
    await addBlock(1, 'tenant_a2')
    const verdict = await verify(await exportedRest())
    assert.deepEqual([verdict.faults, verdict.expired], [[], earlier.expired + earlier.attempts])
  })

  test('is whole with the pages that were fetched before', async () => {
    const fetched = await exportedRest()
    await forgetBlocks(server.server.context, never)
    await addBlock(1, 'tenant_a2')
    assert.deepEqual((await verify(fetched + (await exportedRest()))).faults, [])
  })

  test('names a checkpoint that was changed, taken away, or put before blocks that must be there', async () => {
    const text = await exportedRest()
    const changed = text.replace(/("kind":"checkpoint".*"attempts":)\d+/, '$11')
    assert.match(await faultOf(changed), /^the checkpoint after block \d+: it was changed/)
    const lines = text.split('\n')
    const without = lines.filter((line) => !line.includes('"kind":"checkpoint"')).join('\n')
    assert.match(await faultOf(without), /the blocks before it are missing$/)
    const beheaded = lines.filter((line) => !/"kind":"(block|attempt)"/.test(line)).join('\n')
    assert.match(
      await faultOf(beheaded),
      /^the page of \S+: it was exported with blocks \d+ to \d+, but has no block$/,
    )
    await keepOnlyFrom('tenant_a2', null)
    const early = await faultOf(await exportedRest())
    assert.match(early, /blocks went before their attempts were past their retention$/)
  })
})
