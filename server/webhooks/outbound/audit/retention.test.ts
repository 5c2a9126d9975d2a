import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { createTestDatabase } from '#core/testing/database.ts'
import { deleteBlocks, type ExpiredBlock, listExpired, readKeptSince } from './queries.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
await owner.connect()
owner.on('error', () => undefined)
after(() => owner.end())
await owner.query(`
  insert into products (id, name) values ('p', 'P');
  insert into tenants (id, product_id, name, retention_days, retention_changed_at, kept_from)
    values ('week', 'p', 'W', 7, null, null), ('year', 'p', 'Y', 365, null, null),
      ('longer', 'p', 'L', 365, now() - interval '9 days', (now() at time zone 'UTC')::date - 20),
      ('changed', 'p', 'C', 7, now(), (now() at time zone 'UTC')::date - 365)`)

async function daysKept(tenantId: string): Promise<number> {
  const since = await readKeptSince(database.system, tenantId)
  const today = Math.floor(Date.now() / 86_400_000)
  return today - since.getTime() / 86_400_000
}

test('attempts are expected as long as their tenant wishes, and never those of before a longer wish', async () => {
  assert.equal(await daysKept('week'), 7)
  assert.equal(await daysKept('year'), 365)
  assert.equal(await daysKept('longer'), 20)
  assert.equal(await daysKept(''), 30)
})

test('no more than 2,000 blocks of a chain go at once, with the hashes of their attempts or without', async () => {
  await owner.query(`
    insert into audit_chains (product_id, tenant_id, last_number, last_hash, last_place, has_news)
      values ('p', 'many', 5000, '', 1, false);
    insert into audit_blocks (product_id, tenant_id, number, after_place, last_place, attempts, root, previous,
        sealed_at, hash, key_id, signature)
      select 'p', 'many', n, 0, 0, 1, '', '', now() - interval '400 days', '', '', '' from generate_series(1, 5000) n;
    insert into audit_leaves (product_id, tenant_id, number, sealed_at, leaves)
      select 'p', 'many', n, now() - interval '400 days', '' from generate_series(4501, 5000) n`)
  const gone = []
  for (let count = 1; count > 0;) {
    const [last] = await listExpired(database.system, undefined, 1)
    count = last === undefined ? 0 : (await deleteBlocks(database.system, last)).blocks
    gone.push(count)
  }
  assert.deepEqual(gone, [2000, 2000, 1000, 0])
  await owner.query(`delete from audit_chains where tenant_id = 'many'`)
})

test('blocks go with their attempts, chain by chain, but not while a wish is new', async () => {
  await owner.query(`
    insert into audit_chains (product_id, tenant_id, last_number, last_hash, last_place, has_news)
      select 'p', tenant, 1, '', 1, false from unnest(array['week', 'year', 'longer', 'changed', '']) tenant;
    insert into audit_leaves (product_id, tenant_id, number, sealed_at, leaves)
      select 'p', tenant_id, 1000 - days, now() - days * interval '1 day', ''
      from audit_chains, unnest(array[5, 10, 25, 40, 400]) days;
    insert into audit_blocks (product_id, tenant_id, number, after_place, last_place, attempts, root, previous,
        sealed_at, hash, key_id, signature)
      select product_id, tenant_id, number, 0, 0, 1, '', '', sealed_at, '', '', '' from audit_leaves`)
  const expired: ExpiredBlock[] = []
  for (let count = -1; count < expired.length;) {
    count = expired.length
    expired.push(...(await listExpired(database.system, expired.at(-1), 1)))
  }
  const gone = []
  for (const block of expired) gone.push(await deleteBlocks(database.system, block))
  assert.deepEqual(
    gone,
    [2, 3, 4, 1].map((count) => ({ blocks: count, attempts: count })),
  )
  for (const table of ['audit_leaves', 'audit_blocks']) {
    const { rows } = await owner.query(
      `select tenant_id, array_agg(1000 - number::int order by number desc) as days from ${table} group by 1 order by 1`,
    )
    assert.deepEqual(
      rows.map(({ tenant_id: tenant, days }) => [tenant, days]),
      [
        ['', [5, 10, 25]],
        ['changed', [5, 10, 25, 40, 400]],
        ['longer', [5, 10]],
        ['week', [5]],
        ['year', [5, 10, 25, 40]],
      ],
    )
  }
})
