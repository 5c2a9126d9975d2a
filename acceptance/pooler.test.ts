import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collectFacts, countOpen } from './bridge/facts.ts'
import { judge } from './bridge/judge.ts'
import { startProcesses } from './bridge/processes.ts'
import { publish } from './bridge/publishing.ts'
import { startReceiver } from './bridge/receiver.ts'
import { openShop } from './bridge/shop.ts'
import { createDatabase, dropDatabase, queryDatabase, type Row } from './database.ts'
import { eventually, type Test } from './harness.ts'
import { messages, setProvider } from './mission-examples.ts'
import {
  connect,
  findAtProvider,
  type Message,
  startWorld,
  tenantOf,
  waitForStatus,
} from './mission-world.ts'
import {
  findPgbouncer,
  keepsStatements,
  type Pgbouncer,
  poolSize,
  startPgbouncer,
} from './pooler/pgbouncer.ts'

const program = await findPgbouncer()
const isDemanded = process.env['REQUIRE_PGBOUNCER'] === '1'
const skip =
  program === undefined && !isDemanded
    ? 'PgBouncer is not installed; on Debian: apt-get install pgbouncer'
    : false
const timeout = 180_000
const wanted = 600

test('a PgBouncer that could keep prepared statements is told not to', () => {
  const versions = ['1.18.0', '1.20.1', '1.21.0', '1.24.1', '2.0.0']
  assert.deepEqual(
    versions.filter((version) => keepsStatements(`PgBouncer ${version}\nlibevent 2.1.12-stable\n`)),
    ['1.21.0', '1.24.1', '2.0.0'],
  )
})

test(
  'through PgBouncer in transaction mode: the tables are made, a message goes out, a payment comes back',
  {
    skip,
    timeout,
  },
  async (context) => {
    const { test: keep, databaseUrl, pgbouncer } = await startPooled(context)
    const world = await startWorld(keep, { databaseUrl, databaseHost: pgbouncer.host })
    const tableflow = world.products.tableflow

    await connect(world, setProvider.tableflowEmail)
    const { path, body } = messages.tableflowEmail
    const sent = await tableflow.ok<Message>('POST', path, body)
    await waitForStatus(tableflow, sent.id, 'delivered', 'read')
    assert.equal((await findAtProvider(world, sent.id)).effects, 1)
    await world.backend.waitFor('message.delivered', (event) => event['message_id'] === sent.id)

    const provider = { tenantId: tenantOf.tableflow, provider: 'mercadopago' }
    const credentials = { accessToken: 'TEST-tableflow-mercadopago-token' }
    const config = await world.admin.ok('POST', '/payments/config/provider', { ...provider, credentials })
    const account = await world.sandbox.control('PUT', `/accounts/mercadopago/${credentials.accessToken}`, {
      webhook_url: config['webhook_url'],
    })
    const complete = { ...credentials, webhookSecret: account['webhook_secret'] }
    await world.admin.ok('POST', '/payments/config/provider', { ...provider, credentials: complete })
    const payment = await tableflow.ok<{ id: string; next_action: { url: string } }>(
      'POST',
      '/payments/create',
      {
        tenant_id: tenantOf.tableflow,
        provider: 'mercadopago',
        amount: 15_990,
        currency: 'CLP',
        return_url: 'https://tableflow.com/pedidos/ORD-123',
      },
    )
    const id = new URL(payment.next_action.url).searchParams.get('pref_id')
    await world.sandbox.control('POST', '/pay', { provider: 'mercadopago', id, choice: 'approve' })
    await world.backend.waitFor('payment.confirmed', (event) => event['payment_id'] === payment.id)

    await assertPooled(pgbouncer, databaseUrl, ['app', 'system'])
  },
)

test(
  'through PgBouncer in transaction mode: events are published and delivered in order, and a worker is killed and started again',
  {
    skip,
    timeout,
  },
  async (context) => {
    const { test: keep, databaseUrl, pgbouncer } = await startPooled(context)
    const receiver = await startReceiver(keep)
    const database = { databaseUrl, databaseHost: pgbouncer.host }
    const { api, workers } = await startProcesses(keep, 2, database)
    const paths = ['/ordered', '/limited']
    const shop = await openShop(api, receiver, {
      tenants: 3,
      types: ['order.placed'],
      endpoints: [
        { path: '/ordered', events: ['order.placed'], ordered: true, treat: () => 'take', answerMs: 5 },
        { path: '/limited', events: ['order.placed'], max_in_flight: 4, treat: () => 'take', answerMs: 5 },
      ],
    })
    let killedAt = 0
    const [publications] = await Promise.all([
      publish(shop, {
        seed: 1,
        publishers: 6,
        pauseMs: 10,
        types: [['order.placed', 1]],
        isOver: (published) => published.length >= wanted,
      }),
      eventually(() => (receiver.arrivals.get('/ordered')?.length ?? 0) > wanted / 3, 60_000).then(
        async () => {
          await workers[0]!.kill('SIGKILL')
          killedAt = Date.now()
          const known = await readPasswords(databaseUrl)
          await workers[0]!.restart()
          // PgBouncer opens connections with what earlier clients proved: another salt would lock them out.
          assert.deepEqual(await readPasswords(databaseUrl), known)
        },
      ),
    ])
    await eventually(async () => (await countOpen(shop, paths)) === 0, 90_000)
    const kill = { kind: 'SIGKILL of a worker', from: killedAt, until: killedAt, killedAt }
    const disturbances = [{ ...kill, stopsDatabase: false }]
    const verdict = judge(shop, { publications, facts: await collectFacts(shop), disturbances })
    for (const [label, number] of verdict.counts) context.diagnostic(`${label}: ${number}`)
    assert.deepEqual(verdict.violations, [])
    await assertPooled(pgbouncer, databaseUrl, ['system'])
    assert.deepEqual(await queryDatabase(databaseUrl, listening), [])
    // What fails once is asked again without a name: only the log tells.
    for (const process of [api, ...workers]) assert.doesNotMatch(process.log(), /prepared statement/)
  },
)

const listening = `select pid from pg_stat_activity where datname = current_database() and query like 'listen %'`

/** An empty database behind a pooler, which is there until everything that uses it has stopped. */
async function startPooled(
  context: Test,
): Promise<{ test: Test; databaseUrl: string; pgbouncer: Pgbouncer }> {
  assert.ok(program, 'PgBouncer is not installed, and REQUIRE_PGBOUNCER demands it')
  const endings: Array<() => Promise<void>> = []
  const keep: Test = { after: (work) => void endings.push(work) }
  context.after(async () => {
    for (const end of endings.toReversed()) await end()
  })
  const databaseUrl = await createDatabase('template0')
  keep.after(() => dropDatabase(databaseUrl))
  return { test: keep, databaseUrl, pgbouncer: await startPgbouncer(keep, program, databaseUrl) }
}

/** Nothing went past the pooler, it did share its connections, and what was prepared by name at one is unknown to others. */
async function assertPooled(
  { consoleUrl }: Pgbouncer,
  databaseUrl: string,
  logins: readonly string[],
): Promise<void> {
  const name = new URL(databaseUrl).pathname.slice(1)
  const settings = await queryDatabase(consoleUrl, 'show config')
  const kept = settings.find(({ key }) => key === 'max_prepared_statements')?.['value'] ?? '0'
  assert.equal(kept, '0', 'it keeps statements')
  const pools = await queryDatabase(consoleUrl, 'show pools')
  const own = pools.filter(
    (pool) => pool['database'] === name && String(pool['user']).startsWith('pipecore_'),
  )
  const used = own.map(({ user }) => String(user).split('_')[1])
  for (const login of logins) assert.ok(used.includes(login), `the ${login} login was not seen`)
  for (const pool of own) assert.equal(pool['pool_mode'], 'transaction')
  const sessions = await queryDatabase(
    databaseUrl,
    `select usename, count(*)::int as count from pg_stat_activity where usename like 'pipecore\\_%\\_' || $1 group by 1`,
    [name],
  )
  assert.ok(sessions.length >= logins.length)
  for (const { usename, count } of sessions)
    assert.ok(Number(count) <= poolSize, `${String(usename)} has ${String(count)}`)
}

/** As PostgreSQL keeps them. */
function readPasswords(databaseUrl: string): Promise<Row[]> {
  const name = new URL(databaseUrl).pathname.slice(1)
  const sql = `select rolname, rolpassword from pg_authid where rolname like 'pipecore\\_%\\_' || $1 order by 1`
  return queryDatabase(databaseUrl, sql, [name])
}
