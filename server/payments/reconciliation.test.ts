import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { before, describe, test } from 'node:test'
import pg from 'pg'
import { reconcile as reconcileJob, reconcileDaily } from './reconciliation.ts'
import type { Reconciliation } from './reconciliation-reports.ts'
import { forgetPaymentLog } from './retention.ts'
import type { Payment } from './schema.ts'
import {
  accounts,
  type PaymentsServer,
  type ProviderId,
  startPaymentsServer,
  tenantId,
} from './testing/server.ts'

const day = 24 * 60 * 60 * 1000
const sale = { amount: 15_990, currency: 'CLP', return_url: 'https://shop.example.com/back' }
const run = {
  jobId: 'job_1',
  attempt: 1,
  lastAttempt: true,
  scope: undefined,
  traceId: 'trace',
  signal: new AbortController().signal,
}
let server: PaymentsServer
const cleanups: Array<() => Promise<void>> = []

before(async () => {
  server = await startPaymentsServer({ after: (work) => void cleanups.push(work) })
  // No webhook comes while these tests run.
  await server.control('PATCH', 'settings', { callback_delay_ms: 600_000 })
})

test.after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

/** A payment on a page whose customer paid and closed the tab. */
async function payUnheard(provider: ProviderId): Promise<Payment> {
  const payment = await server.pay({ ...sale, provider })
  await server.control('POST', 'pay', { provider, id: pageOf(payment), choice: 'approve' })
  return payment
}

function pageOf({ next_action: action }: Payment): string {
  const url = new URL(action?.url ?? '')
  return [...url.searchParams.values()].at(-1) ?? url.pathname.split('/').at(-1) ?? ''
}

async function payAtOnce(provider: ProviderId): Promise<Payment> {
  const token = provider === 'stripe' ? { token: 'pm_card_visa' } : { token: 'tok_apro', brand: 'visa' }
  const payment = await server.pay({ ...sale, provider, ...token, customer: { email: 'ana@example.com' } })
  assert.equal(payment.status, 'confirmed', JSON.stringify(payment))
  return payment
}

async function refundOutside(provider: ProviderId, payment: Payment, amount: number): Promise<void> {
  const { provider_payment_id: id } = await server.read(payment.id)
  await server.control('POST', 'act', { provider, action: 'refund', payment: id, amount })
}

async function start(provider: ProviderId, more: object = {}): Promise<Reconciliation> {
  const body = { tenant_id: tenantId, provider, ...more }
  const answer = await server.api.call<Reconciliation>('POST', '/payments/reconciliations', body)
  assert.equal(answer.status, 202, JSON.stringify(answer.body))
  assert.equal(answer.body.state, 'running')
  return answer.body
}

async function ended({ id }: Pick<Reconciliation, 'id'>): Promise<Reconciliation> {
  const deadline = performance.now() + 30_000
  for (;;) {
    const { body } = await server.api.call<Reconciliation>('GET', `/payments/reconciliations/${id}`)
    if (body.state !== 'running') return body
    assert.ok(performance.now() < deadline, JSON.stringify(body))
    await sleep(25)
  }
}

async function reconcile(provider: ProviderId, more: object = {}): Promise<Reconciliation> {
  const result = await ended(await start(provider, more))
  assert.equal(result.state, 'done', JSON.stringify(result))
  return result
}

function driftsOf({ drifts }: Reconciliation, payment: Payment) {
  return drifts
    .filter((one) => one.payment_id === payment.id)
    .map(({ drift, known, found }) => ({ drift, known, found }))
}

async function countEvents(payment: Payment, ...names: string[]): Promise<number[]> {
  const events = await server.eventsOf(payment.id, names)
  return names.map((name) => events.filter(({ event }) => event === name).length)
}

for (const provider of ['mercadopago', 'stripe'] as const) {
  describe(`with the list of ${provider}`, () => {
    test('a payment that no webhook told of is found, told as a drift and confirmed, once', async () => {
      const payment = await payUnheard(provider)
      const result = await reconcile(provider)
      const moved = { drift: 'status_moved', known: 'requires_action', found: 'confirmed' }
      assert.deepEqual(driftsOf(result, payment), [moved])
      assert.equal((await server.read(payment.id)).status, 'confirmed')
      assert.deepEqual(await countEvents(payment, 'payment.drift_detected', 'payment.confirmed'), [1, 1])
      const again = await reconcile(provider)
      assert.deepEqual(driftsOf(again, payment), [])
      assert.ok(again.checked > 0)
      assert.deepEqual(await countEvents(payment, 'payment.drift_detected', 'payment.confirmed'), [1, 1])
    })

    test('a refund made in the dashboard is told once by four reconciliations at once', async () => {
      const payment = await payAtOnce(provider)
      await refundOutside(provider, payment, 5_000)
      const started = await Promise.all(Array.from({ length: 4 }, () => start(provider)))
      const results = await Promise.all(started.map(ended))
      const found = results.flatMap((result) => driftsOf(result, payment))
      assert.equal(found.length, 1, JSON.stringify(results))
      assert.equal(found[0]?.drift, 'refund_outside')
      assert.equal(found[0]?.known, 'CLP 0 given back')
      assert.match(found[0]?.found ?? '', /^CLP 5000 more given back as \S+$/)
      assert.equal((await server.read(payment.id)).refunded, 5_000)
      const names = ['payment.drift_detected', 'refund.created', 'payment.refunded']
      assert.deepEqual(await countEvents(payment, ...names), [1, 1, 1])
      const { data } = (
        await server.api.call<{ data: Array<{ source: string; amount: number }> }>(
          'GET',
          `/payments/${payment.id}/refunds`,
        )
      ).body
      assert.deepEqual(
        data.map(({ source, amount }) => [source, amount]),
        [['provider', 5_000]],
      )
    })

    test('a payment that is in line is compared and not written', async () => {
      const payment = await payAtOnce(provider)
      const read = async () => {
        const { steps } = await server.story(payment.id)
        return steps.filter(({ log, event }) => log !== null || event !== null).length
      }
      await countEvents(payment, 'payment.confirmed')
      const known = await read()
      const result = await reconcile(provider)
      assert.deepEqual(driftsOf(result, payment), [])
      assert.match(result.text, /payments? (was|were) compared/)
      assert.equal(await read(), known)
    })

    test('payments that are not ours are counted, and nothing else', async () => {
      const other = `other_${provider}`
      await server.api.call('POST', '/tenants', { id: other, product_id: 'tableflow', name: 'Other' })
      const credentials =
        provider === 'stripe'
          ? { secretKey: accounts.stripe, webhookSecret: 'whsec_fake_of_the_other_tenant' }
          : { accessToken: accounts.mercadopago, webhookSecret: 'fake_secret_of_the_other_tenant' }
      const config = { tenantId: other, provider, credentials }
      const saved = await server.api.call('POST', '/payments/config/provider', config)
      assert.equal(saved.status, 200, JSON.stringify(saved.body))
      await payAtOnce(provider)
      const result = await ended(await start(provider, { tenant_id: other }))
      assert.deepEqual([result.state, result.checked, result.drifts], ['done', 0, []])
      assert.match(result.text, /(were|was) not made by PipeCore/)
    })
  })
}

describe('with a provider that has no list', () => {
  test('each payment is read by itself', async () => {
    const payment = await server.pay({ ...sale, provider: 'transbank' })
    await server.customer('transbank', payment, 'approve')
    await server.until(payment.id, ({ status }) => status === 'confirmed')
    await refundOutside('transbank', payment, 6_000)
    const result = await reconcile('transbank')
    assert.deepEqual(driftsOf(result, payment), [
      { drift: 'refund_outside', known: 'CLP 0 given back', found: 'CLP 6000 more given back' },
    ])
    assert.deepEqual(await countEvents(payment, 'payment.drift_detected', 'payment.refunded'), [1, 1])
    assert.deepEqual(driftsOf(await reconcile('transbank'), payment), [])
  })

  test('a payment whose call has no known end is left to the janitor', async () => {
    const payment = await server.pay({ ...sale, provider: 'transbank' })
    await server.customer('transbank', payment, 'approve')
    await server.until(payment.id, ({ status }) => status === 'confirmed')
    await server.control('POST', 'payment-faults', {
      provider: 'transbank',
      fault: 'hang_after',
      operation: 'refund',
      times: 1,
    })
    const refund = await server.api.call('POST', `/payments/${payment.id}/refunds`, { amount: 1_000 })
    assert.equal(refund.body['status'], 'unknown', JSON.stringify(refund.body))
    const result = await reconcile('transbank')
    assert.deepEqual(driftsOf(result, payment), [])
    assert.match(result.text, /1 was left to the janitor/)
    await server.waitFor(payment.id, ({ under_way: underWay }) => underWay === null)
  })
})

describe('what can not be mended', () => {
  test('a payment that was paid twice is told once, however often it is found', async () => {
    const payment = await payUnheard('mercadopago')
    const page = { provider: 'mercadopago', id: pageOf(payment), choice: 'approve', again: true }
    await server.control('POST', 'pay', page)
    const first = await reconcile('mercadopago')
    const own = (await server.read(payment.id)).provider_payment_id ?? 'none'
    const [moved, twice, ...others] = driftsOf(first, payment)
    assert.deepEqual(others, [], JSON.stringify(first.drifts))
    assert.deepEqual([moved?.drift, twice?.drift], ['status_moved', 'paid_twice'])
    assert.equal(twice?.known, `paid as ${own}`)
    assert.match(twice?.found ?? '', /^paid as \d+ too$/)
    assert.deepEqual(
      driftsOf(await reconcile('mercadopago'), payment).map(({ drift }) => drift),
      ['paid_twice'],
    )
    const events = await server.eventsOf(payment.id, ['payment.drift_detected', 'payment.confirmed'])
    const drifts = events.filter(({ event }) => event === 'payment.drift_detected')
    assert.deepEqual(
      drifts.map((one) => String(one['drift'])).toSorted((a, b) => a.localeCompare(b)),
      ['paid_twice', 'status_moved'],
    )
    assert.equal((await server.books('mercadopago', payment)).charged, 2 * sale.amount)
  })
})

describe('asking for one', () => {
  const refuse = (body: object) => server.refuse('POST', '/payments/reconciliations', body)

  test('names the provider where there are several, and a time that is not too long ago', async () => {
    const several = await refuse({ tenant_id: tenantId })
    assert.deepEqual([several.status, several.code], [422, 'request_invalid'])
    assert.match(several.detail, /mercadopago, transbank, stripe/)
    const since = new Date(server.server.context.now().getTime() - 91 * day).toISOString()
    assert.equal((await refuse({ tenant_id: tenantId, provider: 'mercadopago', since })).status, 422)
    const none = await refuse({ tenant_id: 'other_mercadopago', provider: 'transbank' })
    assert.deepEqual([none.status, none.code], [422, 'connection_missing'])
  })

  test('with the same Idempotency-Key starts one', async () => {
    const body = { tenant_id: tenantId, provider: 'mercadopago' }
    const headers = { 'idempotency-key': 'nightly-1' }
    const answers = await Promise.all(
      [1, 2, 3].map(() =>
        server.api.call<Reconciliation>('POST', '/payments/reconciliations', body, headers),
      ),
    )
    assert.equal(new Set(answers.map((answer) => answer.body.id)).size, 1)
  })

  test('is heard only for tenants of the caller, and so are its results', async () => {
    const result = await reconcile('mercadopago')
    const key = await server.api.call<{ key: string }>('POST', '/tenants/other_mercadopago/keys', {})
    assert.ok(key.body.key, JSON.stringify(key.body))
    const stranger = server.api.as(key.body.key)
    const answer = await stranger.call('GET', `/payments/reconciliations/${result.id}`)
    assert.deepEqual([answer.status, answer.body['code']], [404, 'reconciliation_not_found'])
    const started = await stranger.call('POST', '/payments/reconciliations', { tenant_id: tenantId })
    assert.equal(started.status, 404)
    const list = `/payments/reconciliations?tenant_id=${tenantId}&limit=1`
    assert.equal((await stranger.call('GET', list)).status, 404)
  })

  test('can be read back page by page, newest first', async () => {
    const newest = await reconcile('mercadopago')
    type Page = { data: Reconciliation[]; next_cursor: string }
    const list = `/payments/reconciliations?tenant_id=${tenantId}&provider=mercadopago&limit=1`
    const first = (await server.api.call<Page>('GET', list)).body
    assert.deepEqual(
      first.data.map(({ id }) => id),
      [newest.id],
    )
    const second = (await server.api.call<Page>('GET', `${list}&cursor=${first.next_cursor}`)).body
    assert.ok((second.data[0]?.id ?? 'none') < newest.id)
  })
})

describe('a provider that can not be asked', () => {
  const fail = (fault: string, more: object = {}) =>
    server.control('POST', 'payment-faults', {
      provider: 'mercadopago',
      fault,
      operation: 'read',
      times: 1,
      ...more,
    })

  test('ends the reconciliation when it refuses for good', async () => {
    await fail('unauthorized')
    const result = await ended(await start('mercadopago'))
    assert.deepEqual([result.state, result.drifts], ['failed', []])
    assert.match(result.error ?? '', /MercadoPago/)
    assert.match(result.text, /did not come to its end/)
  })

  test('leaves single payments for the next time, and says so', async () => {
    const payment = await payUnheard('mercadopago')
    await fail('server_error', { reference: payment.id })
    const result = await reconcile('mercadopago')
    assert.deepEqual(driftsOf(result, payment), [])
    assert.match(result.text, /1 could not be read\./)
    assert.equal(driftsOf(await reconcile('mercadopago'), payment).length, 1)
  })

  test('stops it half-way; begun anew it ends with every difference, each told once', async () => {
    const payments: Payment[] = []
    for (let count = 0; count < 6; count += 1) payments.push(await payUnheard('mercadopago'))
    const [first, ...others] = payments as [Payment, ...Payment[]]
    for (const { id } of others) await fail('server_error', { reference: id })
    const begun = await start('mercadopago')
    await server.until(first.id, ({ status }) => status === 'confirmed')
    await faultsPlayed()
    const { body: half } = await server.api.call<Reconciliation>(
      'GET',
      `/payments/reconciliations/${begun.id}`,
    )
    const found = payments.map((payment) => driftsOf(half, payment).length)
    assert.deepEqual([half.state, found], ['running', [1, 0, 0, 0, 0, 0]])
    await reconcileNow(begun.id)
    const result = await ended(begun)
    assert.deepEqual([result.state, result.error], ['done', null])
    for (const payment of payments) {
      assert.equal(driftsOf(result, payment).length, 1, payment.id)
      assert.deepEqual(await countEvents(payment, 'payment.drift_detected', 'payment.confirmed'), [1, 1])
    }
  })

  async function faultsPlayed(): Promise<void> {
    const deadline = performance.now() + 30_000
    for (;;) {
      const { rules } = await server.control<{ rules: unknown[] }>('GET', 'payment-faults')
      if (rules.length === 0) return
      assert.ok(performance.now() < deadline, JSON.stringify(rules))
      await sleep(25)
    }
  }

  /** What the job does when it is tried again. */
  async function reconcileNow(id: string): Promise<void> {
    const scope = { tenantId, productId: 'tableflow', traceId: 'trace' }
    await reconcileJob.run(server.server.context, { reconciliation_id: id }, { ...run, scope })
  }
})

test('every day each active connection of a tenant with payments is reconciled, once', async () => {
  const count = async () => {
    const list = `/payments/reconciliations?tenant_id=${tenantId}&limit=200`
    const { data } = (await server.api.call<{ data: Reconciliation[] }>('GET', list)).body
    return data.length
  }
  // Counted first: once the clock has moved, the schedule's own run may be faster than this one.
  const known = await count()
  await server.passTime(day)
  await reconcileDaily.run(server.server.context, {}, run)
  await reconcileDaily.run(server.server.context, {}, run)
  assert.equal(await count(), known + 3)
})

test('payments that a provider without a list will not tell of much longer are left out', async () => {
  await server.pay({ ...sale, provider: 'transbank' })
  await server.passTime(7 * day - day / 48)
  await server.pay({ ...sale, provider: 'transbank' })
  assert.equal((await reconcile('transbank')).checked, 1)
})

test('old calls and reconciliations are forgotten; payments, and what was told of drifts, are kept', async () => {
  const payment = await payUnheard('mercadopago')
  const old = await reconcile('mercadopago')
  // The daily one may have been faster: the clock was moved.
  await server.eventsOf(payment.id, ['payment.drift_detected'])
  await server.passTime(400 * day)
  const client = new pg.Client({ connectionString: server.ownerUrl })
  await client.connect()
  await forgetPaymentLog.run(server.server.context, {}, run)
  const actions = await client.query<{ action: string }>(
    'select action from pipecore.payment_log where subject = $1',
    [payment.id],
  )
  await client.end()
  assert.deepEqual(
    actions.rows.map(({ action }) => action),
    ['drift_detected'],
  )
  assert.equal((await server.api.call('GET', `/payments/reconciliations/${old.id}`)).status, 404)
  assert.equal((await server.read(payment.id)).status, 'confirmed')
})
