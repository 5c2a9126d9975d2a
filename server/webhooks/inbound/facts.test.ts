import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { boundDeletes } from '#core/testing/bounded-deletes.ts'
import { createTestDatabase } from '#core/testing/database.ts'
import { deleteExpiredFacts } from './queries.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
await owner.connect()
owner.on('error', () => undefined)
after(() => owner.end())

test('facts outlive the webhooks that could be replayed, by what a provider may repeat', async () => {
  await owner.query(`
    insert into products (id, name) values ('p', 'P');
    insert into tenants (id, product_id, name, retention_days, raw_retention_days)
      values ('week', 'p', 'W', 7, null), ('quarter', 'p', 'Q', 90, null), ('lean', 'p', 'L', 365, 7);
    insert into inbound_webhooks (id, tenant_id, capability, provider, state, method, target, headers, body, trace_id, received_at)
      values ('whk_0000000000there', 'week', 'c', 'p', 'stored', 'POST', '/', '{}', '', 't', now());
    insert into inbound_facts (tenant_id, provider, fact_key, webhook_id, recorded_at)
      select tenant, 'p', tenant || ' ' || days, 'whk_gone', now() - days * interval '1 day'
      from unnest(array['week', 'quarter', 'lean', 'nobody']) tenant, unnest(array[44, 46, 104, 106]) days
      union all select 'week', 'p', 'week, request there', 'whk_0000000000there', now() - interval '60 days'`)
  await deleteExpiredFacts(database.system, { atLeast: 45, longer: 15 }, new Date())
  const { rows } = await owner.query('select fact_key from inbound_facts order by fact_key')
  assert.deepEqual(
    rows.map(({ fact_key: key }) => key),
    ['lean 44', 'nobody 44', 'quarter 104', 'quarter 44', 'quarter 46', 'week 44', 'week, request there'],
  )
})

test('facts go so many at a time that no statement is ended', async () => {
  await boundDeletes(owner, 'inbound_facts')
  await owner.query(`
    insert into inbound_facts (tenant_id, provider, fact_key, webhook_id, recorded_at)
    select 'week', 'many', n::text, 'whk_gone', now() - interval '50 days' from generate_series(1, 12000) n`)
  await deleteExpiredFacts(database.system, { atLeast: 45, longer: 15 }, new Date())
  const { rows } = await owner.query(`select from inbound_facts where provider = 'many'`)
  assert.equal(rows.length, 0)
})
