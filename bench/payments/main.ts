import { availableParallelism, cpus } from 'node:os'
import { MercadoPagoConfig, Payment } from 'mercadopago'
import Stripe from 'stripe'
import { Agent, request } from 'undici'
import { callAtRate, medianOf, type Percentiles, percentilesOf } from '../load.ts'
import { startStage, type Stage } from '../processes.ts'

const perSecond = readNumber('BENCH_RATE', 200)
const seconds = readNumber('BENCH_SECONDS', 4)
const rounds = readNumber('BENCH_ROUNDS', 5)
const tenantId = 'bench_tenant'
const keys = { stripe: 'sk_test_bench', mercadopago: 'TEST-bench-access-token' }
const goal = { p50: 3, p99: 15 }

interface Contest {
  name: string
  direct(index: number): Promise<void>
  pipecore(index: number): Promise<void>
}

/** What a payment costs more through PipeCore than by the provider's own SDK, both at the same simulator without delay. */
async function main(): Promise<void> {
  const stage = await startStage()
  try {
    await prepare(stage)
    print(
      `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, Node ${process.version}`,
    )
    print(
      `${perSecond} payments a second, ${rounds} rounds of ${seconds} s each way, alternated; milliseconds`,
    )
    print('')
    print('| provider | way | p50 | p90 | p99 | payments | failed |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    for (const contest of [stripeContest(stage), mercadopagoContest(stage)]) await play(contest)
    print('')
    print(`Goal: p50 at most +${goal.p50} ms, p99 at most +${goal.p99} ms.`)
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

async function play(contest: Contest): Promise<void> {
  for (const way of ['direct', 'pipecore'] as const) await callAtRate(perSecond, 2, contest[way])
  const played: Record<'direct' | 'pipecore', Percentiles[]> = { direct: [], pipecore: [] }
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ['direct', 'pipecore'] as const) {
      const { timesMs, failed } = await callAtRate(perSecond, seconds, contest[way])
      played[way].push(percentilesOf(timesMs, failed))
    }
  }
  const direct = summarize(played.direct)
  const pipecore = summarize(played.pipecore)
  show(contest.name, 'SDK', direct)
  show(contest.name, 'PipeCore', pipecore)
  const over = (name: 'p50' | 'p90' | 'p99') => `+${(pipecore[name] - direct[name]).toFixed(1)}`
  print(
    `| ${contest.name} | **overhead** | **${over('p50')}** | **${over('p90')}** | **${over('p99')}** | | |`,
  )
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

function show(provider: string, way: string, { p50, p90, p99, count, failed }: Percentiles): void {
  const figures = [p50, p90, p99].map((figure) => figure.toFixed(1)).join(' | ')
  print(`| ${provider} | ${way} | ${figures} | ${count} | ${failed} |`)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function readNumber(name: string, fallback: number): number {
  const number = Number(process.env[name] ?? fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`${name} must be a whole number above 0, not "${process.env[name]}".`)
}

await main()
