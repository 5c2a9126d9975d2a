import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import type { TenantScope } from '#core/database.ts'
import { createId } from '#core/ids.ts'
import { factRecording } from '#webhooks/inbound'
import { toLogRow } from './payment-log.ts'
import { endUntouched, insertPaymentsWithCalls, insertQuietLooks } from './joint-queries.ts'
import { findPayment, listLogOf } from './queries.ts'
import { startPaymentsServer, tenantId } from './testing/server.ts'

const server = await startPaymentsServer({ after })
const { context } = server.server
const { database } = context
const scope: TenantScope = { tenantId, productId: 'tableflow', traceId: '0'.repeat(32) }
const sale = { amount: 15_990, currency: 'CLP' }
const byProvider = {
  stripe: { ...sale, provider: 'stripe', token: 'pm_card_visa' },
  mercadopago: {
    ...sale,
    provider: 'mercadopago',
    token: 'tok_apro',
    brand: 'visa',
    customer: { email: 'ana@example.com' },
  },
}

for (const [provider, payment] of Object.entries(byProvider)) {
  test(`a payment whose answer is cut in the middle of a character has its end: ${provider}`, async () => {
    // One of the two cuts a character in half.
    for (const before of ['', 'x']) {
      const texts = Array.from({ length: 12 }, (_, index) => [`m${index}`, '😀'.repeat(100)])
      const metadata = { ...Object.fromEntries(texts), m0: before + '😀'.repeat(100) }
      const { id, status } = await server.pay({ ...payment, metadata })
      assert.equal(status, 'confirmed')
      const [call] = await database.readAsTenant(scope, (db) => listLogOf(db, tenantId, id))
      assert.equal(call?.outcome, 'done')
      assert.match(call?.answer ?? '', /^.*😀\ufffd?$/su)
    }
  })
}

test('rows with half a character and NUL are written without them', async () => {
  // A webhook would touch it.
  await server.control('POST', 'payment-faults', { provider: 'stripe', fault: 'webhook_dropped' })
  const { id: likeId } = await server.pay(byProvider.stripe)
  await server.control('DELETE', 'payment-faults')
  const like = await database.readAsTenant(scope, (db) => findPayment(db, tenantId, likeId))
  assert.ok(like)
  const id = createId('pay')
  const odd = 'half \ud83d, none \0.'
  const known = {
    ...like,
    id,
    return_token: id,
    provider_payment_id: null,
    operation: '{}',
    description: odd,
    // No column of this name: what matters is that the row is read at all.
    [odd]: odd,
  }
  const entry = { subject: id, provider: 'stripe', action: 'create_payment', note: odd }
  const call = toLogRow(context, scope, entry)
  await database.asTenantOnce(scope, (db) => insertPaymentsWithCalls(db, [{ payment: known, call }]))
  const ended = { ...known, operation: null, told: true }
  const end = { known, next: ended, call: { logId: call.id, change: { answer: odd } } }
  const written = await database.asTenantOnce(scope, (db) => endUntouched(db, [end], () => sql<number>`1`))
  assert.deepEqual(written, { ended: [true], opened: 1 })
  const fact = { tenantId, provider: 'stripe', key: id, webhookId: 'whk_odd' }
  const look = {
    known: ended,
    read: toLogRow(context, scope, entry),
    notice: toLogRow(context, scope, entry),
  }
  const looks = await database.asTenantOnce(scope, (db) =>
    insertQuietLooks(db, [look], (due) => factRecording([fact], due)),
  )
  assert.deepEqual(looks, [true])
  const log = await database.readAsTenant(scope, (db) => listLogOf(db, tenantId, id))
  const clean = 'half \ufffd, none .'
  assert.deepEqual(
    log.map(({ note }) => note),
    [clean, clean, clean],
  )
  assert.ok(log.some(({ answer }) => answer === clean))
})
