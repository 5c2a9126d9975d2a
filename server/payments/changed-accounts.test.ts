import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { z } from 'zod'
import {
  deleteConnection,
  openConnectionsOfProvider,
  recallConnectionsOfProvider,
  saveConnection,
} from '#connections'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { requirePaymentProvider } from './provider-registry.ts'
import type { Payment } from './schema.ts'
import { startPaymentsServer } from './testing/server.ts'
import { readWebhook } from './webhook-job.ts'

const server = await startPaymentsServer({ after })
const { context } = server.server
const mercadopago = requirePaymentProvider('mercadopago')

/** Another process hears nothing of what this one remembers. */
const elsewhere: Context = { ...context, database: { ...context.database } }

async function makeTenant(id: string): Promise<TenantScope> {
  await server.api.call('POST', '/tenants', { id, product_id: 'tableflow', name: id })
  return { tenantId: id, productId: 'tableflow', traceId: '0'.repeat(32) }
}

/** An account whose webhooks are taken as hints. @returns its connection's id */
async function useAccount(scope: TenantScope, name: string, at = context): Promise<string> {
  const { tenantId } = scope
  const accessToken = `TEST-${tenantId}-${name}`
  const hook = `${context.config.publicUrl}/webhooks/payment?tenant_id=${tenantId}&provider=mercadopago`
  await server.control('PUT', `accounts/mercadopago/${accessToken}`, { webhook_url: hook, search_lag_ms: 0 })
  const credentials = { accessToken, currency: 'CLP', webhookMode: 'hint' }
  const input = { capability: 'payments', credentials, isActive: true, priority: 1 }
  return (await saveConnection(at, scope, mercadopago, input)).id
}

const recall = (scope: TenantScope) =>
  recallConnectionsOfProvider(context, scope, 'payments', mercadopago).map(({ id }) => id)

const sale = { provider: 'mercadopago', amount: 2_000, currency: 'CLP' }

function openPage({ tenantId }: TenantScope): Promise<Payment> {
  return server.pay({ ...sale, tenant_id: tenantId, return_url: 'https://shop.example.com/x' })
}

/** As a webhook makes this process remember them. */
async function remember(scope: TenantScope): Promise<void> {
  await context.database.readAsTenant(scope, (db) =>
    openConnectionsOfProvider(context, db, scope, 'payments', mercadopago),
  )
}

async function payPage(page: Payment): Promise<void> {
  await server.customer('mercadopago', page, 'approve', { follow: false })
  await server.until(page.id, ({ status }) => status === 'confirmed', 15_000)
}

async function takenFor({ tenantId }: TenantScope): Promise<(string | null)[]> {
  const { rows } = await sql<{ connection_id: string | null }>`
    select distinct connection_id from inbound_webhooks where tenant_id = ${tenantId}`.execute(
    context.database.system,
  )
  return rows.map((row) => row.connection_id)
}

test('a hint is taken for the account that another process set a moment ago', async () => {
  const scope = await makeTenant('elsewhere')
  const first = await useAccount(scope, 'first')
  await remember(scope)
  assert.deepEqual(recall(scope), [first])
  const second = await useAccount(scope, 'second', elsewhere)
  assert.deepEqual(recall(scope), [first])
  await payPage(await openPage(scope))
  assert.ok((await takenFor(scope)).includes(second))
})

test('a payment of an account that was changed before the customer paid is found there', async () => {
  const scope = await makeTenant('moved')
  await useAccount(scope, 'first')
  const page = await openPage(scope)
  const second = await useAccount(scope, 'second')
  await payPage(page)
  assert.deepEqual(await takenFor(scope), [second])
})

test('accounts are not remembered beyond their change or end', async () => {
  const scope = await makeTenant('forgotten')
  const first = await useAccount(scope, 'first')
  await remember(scope)
  assert.deepEqual(recall(scope), [first])
  const second = await useAccount(scope, 'second')
  assert.deepEqual(recall(scope), [])
  await remember(scope)
  await deleteConnection(context, scope, second)
  assert.deepEqual(recall(scope), [])
})

test('a webhook is read to its end, though the credentials of the tenant fit no more', async () => {
  const scope = await makeTenant('unreadable')
  await useAccount(scope, 'only')
  const page = await openPage(scope)
  await payPage(page)
  const ofBefore = { ...mercadopago, credentials: z.looseObject({}) }
  const input = { capability: 'payments', credentials: { of: 'before' }, isActive: true, priority: 1 }
  await saveConnection(context, scope, ofBefore, input)
  const { rows } = await sql<{ id: string }>`
    select id from inbound_webhooks where tenant_id = ${scope.tenantId}`.execute(context.database.system)
  const signal = new AbortController().signal
  const run = { jobId: 'job', attempt: 1, lastAttempt: false, scope, traceId: scope.traceId, signal }
  for (const { id } of rows) await readWebhook.run(context, { webhook_id: id }, run)
  assert.notEqual(rows.length, 0)
})
