import { MercadoPagoConfig, Payment } from 'mercadopago'
import Stripe from 'stripe'
import { Agent, request } from 'undici'
import { callAtRate, medianOf, type Percentiles, percentilesOf } from '../load.ts'
import type { Options } from '../options.ts'
import { startStage, type Stage } from '../processes.ts'
import { atMost, type Figure, type Report } from '../report.ts'

const tenantId = 'bench_tenant'
const keys = { stripe: 'sk_test_bench', mercadopago: 'TEST-bench-access-token' }
const goal = { p50: 3, p99: 15 }

interface Contest {
  name: string
  direct(index: number): Promise<void>
  pipecore(index: number): Promise<void>
}

/** What a payment costs more through PipeCore than by the provider's own SDK, both at the same simulator without delay. */
export async function benchPayments(options: Options): Promise<Report> {
  const stage = await startStage()
  try {
    await prepare(stage)
    const rows: string[][] = []
    const figures: Figure[] = []
    for (const contest of [stripeContest(stage), mercadopagoContest(stage)]) {
      const { direct, pipecore } = await play(contest, options)
      const over = (name: 'p50' | 'p90' | 'p99') => pipecore[name] - direct[name]
      const overhead = [over('p50'), over('p90'), over('p99')].map((figure) => `**+${figure.toFixed(1)}**`)
      rows.push(rowOf(contest.name, 'SDK', direct), rowOf(contest.name, 'PipeCore', pipecore))
      rows.push([contest.name, '**overhead**', ...overhead, '', ''])
      figures.push(atMost(`payments, ${contest.name}: overhead p50`, over('p50'), goal.p50, 'ms'))
      figures.push(atMost(`payments, ${contest.name}: overhead p99`, over('p99'), goal.p99, 'ms'))
    }
    const method = `${options.rate} payments a second, at the simulated provider without delay, by the provider's own SDK and through PipeCore; ${options.rounds} rounds of ${options.seconds} s each way, alternated; medians; milliseconds.`
    const header = ['provider', 'way', 'p50', 'p90', 'p99', 'payments', 'failed']
    return { method: [method], tables: [{ header, rows }], figures, missing: [] }
  } finally {
    await stage.close()
  }
}

async function prepare(stage: Stage): Promise<void> {
  const call = (path: string, body: object) => post(stage, path, body)
  await call('/products', { id: 'bench', name: 'Bench' })
  await call('/tenants', { id: tenantId, product_id: 'bench', name: 'Bench' })
  await call('/payments/config/provider', {
    tenantId,
    provider: 'stripe',
    credentials: { secretKey: keys.stripe },
  })
  await call('/payments/config/provider', {
    tenantId,
    provider: 'mercadopago',
    credentials: { accessToken: keys.mercadopago, currency: 'CLP' },
  })
}

const agent = new Agent({ connections: 256, pipelining: 1 })

async function post({ url, adminKey }: Stage, path: string, body: object): Promise<Record<string, unknown>> {
  const answer = await request(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    dispatcher: agent,
  })
  const told = (await answer.body.json()) as Record<string, unknown>
  if (answer.statusCode >= 300) throw new Error(`${path} → ${answer.statusCode} ${JSON.stringify(told)}`)
  return told
}

async function payThrough(stage: Stage, fields: object): Promise<void> {
  const sale = { tenant_id: tenantId, amount: 15_990, currency: 'CLP' }
  const payment = await post(stage, '/payments/create', { ...sale, ...fields })
  if (payment['status'] !== 'confirmed') throw new Error(`ended ${String(payment['status'])}`)
}

function stripeContest(stage: Stage): Contest {
  const { hostname, port } = new URL(stage.sandboxUrl)
  const client = new Stripe(keys.stripe, {
    host: hostname,
    port,
    protocol: 'http',
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: Stripe.createFetchHttpClient((input: string | URL | Request, init?: RequestInit) =>
      fetch(
        (input instanceof Request ? input.url : input.toString()).replace(`:${port}/`, `:${port}/stripe/`),
        init,
      ),
    ),
  })
  return {
    name: 'Stripe',
    direct: async () => {
      const intent = await client.paymentIntents.create({
        amount: 15_990,
        currency: 'clp',
        confirm: true,
        payment_method: 'pm_card_visa',
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      })
      if (intent.status !== 'succeeded') throw new Error(intent.status)
    },
    pipecore: () => payThrough(stage, { provider: 'stripe', token: 'pm_card_visa' }),
  }
}

function mercadopagoContest(stage: Stage): Contest {
  const dispatcher = new Agent({ connections: 256 }).compose(
    (dispatch) => (options, handler) =>
      dispatch({ ...options, origin: stage.sandboxUrl, path: `/mercadopago${options.path}` }, handler),
  )
  const customer = { email: 'ana@example.com' }
  return {
    name: 'MercadoPago',
    direct: async () => {
      const options = { timeout: 10_000, maxRetries: 0, dispatcher } as object
      const payment = new Payment(new MercadoPagoConfig({ accessToken: keys.mercadopago, options }))
      const body = {
        transaction_amount: 15_990,
        token: 'tok_apro',
        payment_method_id: 'visa',
        installments: 1,
        payer: customer,
      }
      const { status } = await payment.create({ body })
      if (status !== 'approved') throw new Error(String(status))
    },
    pipecore: () =>
      payThrough(stage, { provider: 'mercadopago', token: 'tok_apro', brand: 'visa', customer }),
  }
}

async function play(
  contest: Contest,
  { rate, seconds, rounds }: Options,
): Promise<Record<'direct' | 'pipecore', Percentiles>> {
  for (const way of ['direct', 'pipecore'] as const) await callAtRate(rate, 2, contest[way])
  const played: Record<'direct' | 'pipecore', Percentiles[]> = { direct: [], pipecore: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ['direct', 'pipecore'] as const) {
      const { timesMs, failed } = await callAtRate(rate, seconds, contest[way])
      played[way].push(percentilesOf(timesMs, failed))
    }
  }
  return { direct: summarize(played.direct), pipecore: summarize(played.pipecore) }
}

function summarize(results: readonly Percentiles[]): Percentiles {
  const median = (name: keyof Percentiles) => medianOf(results.map((result) => result[name]))
  const sum = (name: 'count' | 'failed') => results.reduce((total, result) => total + result[name], 0)
  return {
    p50: median('p50'),
    p90: median('p90'),
    p99: median('p99'),
    count: sum('count'),
    failed: sum('failed'),
  }
}

function rowOf(provider: string, way: string, { p50, p90, p99, count, failed }: Percentiles): string[] {
  const figures = [p50, p90, p99].map((figure) => figure.toFixed(1))
  return [provider, way, ...figures, String(count), String(failed)]
}
