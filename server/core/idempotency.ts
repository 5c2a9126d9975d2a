import { createHash } from 'node:crypto'
import { type ColumnType, type Kysely, sql } from 'kysely'
import { batchSize, deleteInBatches } from './batches.ts'
import type { TenantScope } from './database.ts'
import { PipeError } from './errors.ts'

export interface IdempotencyTables {
  idempotency_keys: {
    tenant_id: string
    key: string
    operation: string
    request_hash: string
    answer: string | null
    created_at: ColumnType<Date, never, never>
  }
}

declare module './database.ts' {
  interface Tables extends IdempotencyTables {}
}

export interface IdempotentRequest {
  /** The caller's `Idempotency-Key`; without one the work simply runs. */
  key: string | undefined
  operation: string
  request: unknown
}

/**
 * Runs work once per key inside the caller's transaction: its rows and the remembered answer commit together.
 * A second call waits for the first and gets the same answer.
 * @throws PipeError `idempotency_key_reused` (422) when the key came with another request.
 */
export async function runOnce<Answer>(
  db: Kysely<IdempotencyTables>,
  scope: Pick<TenantScope, 'tenantId'>,
  request: IdempotentRequest,
  work: () => Promise<Answer>,
): Promise<Answer> {
  if (request.key === undefined) return work()
  const hash = createHash('sha256').update(JSON.stringify(request.request)).digest('hex')
  const claimed = await db
    .insertInto('idempotency_keys')
    .values({
      tenant_id: scope.tenantId,
      key: request.key,
      operation: request.operation,
      request_hash: hash,
      answer: null,
    })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'key']).doNothing())
    .returning('key')
    .executeTakeFirst()
  if (claimed === undefined) return readAnswer<Answer>(db, scope, request, hash)
  const answer = await work()
  await db
    .updateTable('idempotency_keys')
    .set({ answer: JSON.stringify(answer) })
    .where('tenant_id', '=', scope.tenantId)
    .where('key', '=', request.key)
    .execute()
  return answer
}

/** By the database's clock, which also says when they were made. */
export async function forgetAnswers(db: Kysely<IdempotencyTables>): Promise<void> {
  await deleteInBatches(async () => {
    const { numAffectedRows } = await sql`
      delete from idempotency_keys where ctid = any(array(
        select ctid from idempotency_keys where created_at < now() - interval '24 hours'
        limit ${batchSize}))`.execute(db)
    return Number(numAffectedRows)
  })
}

async function readAnswer<Answer>(
  db: Kysely<IdempotencyTables>,
  scope: Pick<TenantScope, 'tenantId'>,
  request: IdempotentRequest,
  hash: string,
): Promise<Answer> {
  const known = await db
    .selectFrom('idempotency_keys')
    .select(['operation', 'request_hash', 'answer'])
    .where('tenant_id', '=', scope.tenantId)
    .where('key', '=', request.key ?? '')
    .executeTakeFirstOrThrow()
  if (known.operation !== request.operation || known.request_hash !== hash) {
    throw new PipeError(
      'idempotency_key_reused',
      422,
      'This Idempotency-Key was already used for another request. Use a new key for a new request.',
      { errors: [{ field: 'Idempotency-Key', message: 'belongs to another request' }] },
    )
  }
  return JSON.parse(known.answer ?? 'null') as Answer
}
