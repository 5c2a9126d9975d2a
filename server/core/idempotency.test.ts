import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { forgetAnswers } from './idempotency.ts'
import { boundDeletes } from './testing/bounded-deletes.ts'
import { createTestDatabase } from './testing/database.ts'

const { database, ownerUrl } = await createTestDatabase({ after })
const owner = new pg.Client({ connectionString: ownerUrl, options: '-c search_path=pipecore' })
await owner.connect()
owner.on('error', () => undefined)
after(() => owner.end())

test('answers go after a day, so many at a time that no statement is ended', async () => {
  await boundDeletes(owner, 'idempotency_keys')
  await owner.query(`
    insert into idempotency_keys (tenant_id, key, operation, request_hash, created_at)
    select 't', 'old ' || n, 'o', 'h', now() - interval '25 hours' from generate_series(1, 12000) n
    union all select 't', 'young', 'o', 'h', now() - interval '23 hours'`)
  await forgetAnswers(database.system)
  const { rows } = await owner.query('select key from idempotency_keys')
  assert.deepEqual(rows, [{ key: 'young' }])
})
