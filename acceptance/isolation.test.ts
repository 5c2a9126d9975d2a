import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { messages, setProvider } from './mission-examples.ts'
import type { Answer, Client } from './harness.ts'
import {
  assertNothingLeaked,
  assertProblem,
  connectAll,
  type Message,
  startWorld,
  waitForStatus,
} from './mission-world.ts'

const world = await startWorld({ after })
const { admin, pipecore } = world
const { tableflow, genda } = world.products
await connectAll(world)

const stripe = {
  tenantId: 'tableflow_123',
  provider: 'stripe',
  credentials: { secretKey: 'sk_test_tableflow_isolation' },
}
const sale = { tenant_id: 'tableflow_123', provider: 'stripe', currency: 'CLP' }
const shop = { return_url: 'https://tableflow.com/back' }
const newPayment = { ...sale, amount: 15_990, token: 'pm_card_visa' }
const newCheckout = { ...sale, ...shop, items: [{ title: 'Cazuela', unit_amount: 6_990 }] }
const newMethod = { tenant_id: 'tableflow_123', provider: 'stripe', customer: {}, ...shop }
const newSubscription = {
  ...newPayment,
  interval: { every: 'month' },
  description: 'Plan',
  customer: { email: 'juan@email.com' },
}

const newReplay = { from: '2026-01-01T00:00:00Z', tenant_ids: ['tableflow_123'] }

/** Everything that a tenant of TableFlow can have, one of each. */
const theirs = await makeOneOfEach()
const ids: Record<string, string> = theirs
const gendaTenant = await makeTenantKey('genda_456')

async function makeOneOfEach() {
  const { id: message } = await tableflow.ok<Message>(
    'POST',
    messages.tableflowEmail.path,
    messages.tableflowEmail.body,
  )
  await waitForStatus(tableflow, message, 'delivered')
  const first = async (path: string) => {
    const { data } = await tableflow.ok<{ data: Array<{ id: string }> }>('GET', path)
    return data[0]?.id ?? assert.fail(`${path} is empty`)
  }
  await tableflow.ok('POST', '/messaging/suppressions/tableflow_123', {
    channel: 'email',
    address: 'nadie@email.com',
  })
  await tableflow.ok('PUT', '/messaging/templates/tableflow_123/pedido/es', { text: 'Hola' })
  await tableflow.ok('PUT', '/messaging/auto-replies/tableflow_123/gracias', {
    channel: 'whatsapp',
    body: '¡A ti!',
  })
  await tableflow.ok('PUT', '/webhooks/catalog/order.paid', { version: 1, schema: {} })
  await makeTenantKey('tableflow_123')
  const payments = await makePayments()
  const { id: replay } = await tableflow.ok<{ id: string }>('POST', '/webhooks/replays', newReplay)
  return {
    ...payments,
    replay,
    product: 'tableflow',
    tenant: 'tableflow_123',
    message,
    connection: await first('/messaging/config/tableflow_123'),
    suppression: await first('/messaging/suppressions/tableflow_123'),
    endpoint: world.endpointIds.tableflow,
    event: await first(`/webhooks/events?entity=${message}`),
    webhook: await first('/webhooks/inbound?tenant_id=tableflow_123'),
    productKey: await first('/products/tableflow/keys'),
    tenantKey: await first('/tenants/tableflow_123/keys'),
    template: 'pedido',
    reply: 'gracias',
    locale: 'es',
  }
}

async function makePayments() {
  const make = async (path: string, body: object) =>
    (await tableflow.ok<{ id: string }>('POST', path, body)).id
  return {
    paymentConnection: await make('/payments/config/provider', stripe),
    payment: await make('/payments', newPayment),
    checkout: await make('/payments/checkouts', newCheckout),
    method: await make('/payments/methods', newMethod),
    subscription: await make('/payments/subscriptions', newSubscription),
    reconciliation: await make('/payments/reconciliations', {
      tenant_id: 'tableflow_123',
      provider: 'stripe',
    }),
  }
}

async function makeTenantKey(tenantId: string): Promise<Client> {
  const { key } = await admin.ok<{ key: string }>('POST', `/tenants/${tenantId}/keys`, { name: 'own' })
  return admin.as(key)
}

const template = { text: 'Robado' }
const mail = { ...messages.tableflowEmail.body }

/** A call of each operation that reaches for what is TableFlow's, by operation id; `:name` is an id of `theirs`. */
const reaches: Record<string, [path: string, body?: object]> = {
  createTenant: ['/tenants', { id: 'intruder_1', product_id: 'tableflow', name: 'Intruder' }],
  changeTenant: ['/tenants/:tenant', { retention_days: 7 }],
  createProductKey: ['/products/:product/keys', {}],
  listProductKeys: ['/products/:product/keys'],
  deleteProductKey: ['/products/:product/keys/:productKey'],
  createTenantKey: ['/tenants/:tenant/keys', {}],
  listTenantKeys: ['/tenants/:tenant/keys'],
  deleteTenantKey: ['/tenants/:tenant/keys/:tenantKey'],
  createEndpoint: ['/webhooks/endpoints', { url: 'https://example.com/', tenant_id: 'tableflow_123' }],
  listEndpoints: ['/webhooks/endpoints?tenant_id=:tenant'],
  getEndpoint: ['/webhooks/endpoints/:endpoint'],
  changeEndpoint: ['/webhooks/endpoints/:endpoint', { active: false }],
  deleteEndpoint: ['/webhooks/endpoints/:endpoint'],
  testEndpoint: ['/webhooks/endpoints/:endpoint/test'],
  rotateEndpointSecret: ['/webhooks/endpoints/:endpoint/rotate', {}],
  testEndpointFilter: ['/webhooks/endpoints/:endpoint/filter/test', { body: {} }],
  readFeed: ['/webhooks/endpoints/:endpoint/events'],
  acknowledgeEvents: ['/webhooks/endpoints/:endpoint/events/ack', { through: 0 }],
  listEvents: ['/webhooks/events?tenant_id=:tenant'],
  getEvent: ['/webhooks/events/:event'],
  replayEvent: ['/webhooks/events/:event/replay', {}],
  startReplay: ['/webhooks/replays', newReplay],
  getReplay: ['/webhooks/replays/:replay'],
  pauseReplay: ['/webhooks/replays/:replay/pause'],
  resumeReplay: ['/webhooks/replays/:replay/resume'],
  cancelReplay: ['/webhooks/replays/:replay/cancel'],
  getAuditHead: ['/webhooks/audit?tenant_id=:tenant'],
  exportAudit: ['/webhooks/audit/export?tenant_id=:tenant'],
  publishEvents: ['/events', { tenant_id: 'tableflow_123', type: 'order.paid', data: {} }],
  saveEventType: ['/webhooks/catalog/order.paid', { product_id: 'tableflow', version: 2, schema: {} }],
  getEventType: ['/webhooks/catalog/order.paid?product_id=:product'],
  deleteEventType: ['/webhooks/catalog/order.paid?product_id=:product'],
  listInboundWebhooks: ['/webhooks/inbound?tenant_id=:tenant'],
  getInboundWebhook: ['/webhooks/inbound/:webhook?tenant_id=:tenant'],
  replayInboundWebhook: ['/webhooks/inbound/:webhook/replay?tenant_id=:tenant', { apply: true }],
  sendWhatsapp: ['/messaging/send/whatsapp', { ...messages.tableflowWhatsapp.body }],
  sendSms: ['/messaging/send/sms', { ...messages.tableflowWhatsapp.body }],
  sendEmail: ['/messaging/send/email', mail],
  sendMessage: ['/messaging/send', { ...mail, channel: 'email' }],
  getMessage: ['/messaging/messages/:message'],
  cancelMessage: ['/messaging/messages/:message/cancel'],
  listMessages: ['/messaging/logs/:tenant'],
  getMessagingStats: ['/messaging/stats/:tenant'],
  saveMessagingProvider: ['/messaging/config/provider', setProvider.tableflowEmail],
  listMessagingProviders: ['/messaging/config/:tenant'],
  changeMessagingProvider: ['/messaging/config/:tenant/:connection', { isActive: false }],
  checkMessagingProvider: ['/messaging/config/:tenant/:connection/check'],
  deleteMessagingProvider: ['/messaging/config/:tenant/:connection'],
  saveTemplate: ['/messaging/templates/:tenant/:template/:locale', template],
  listTemplates: ['/messaging/templates/:tenant'],
  getTemplate: ['/messaging/templates/:tenant/:template'],
  deleteTemplate: ['/messaging/templates/:tenant/:template/:locale'],
  previewTemplate: ['/messaging/templates/:tenant/:template/preview', {}],
  saveAutoReply: ['/messaging/auto-replies/:tenant/:reply', { channel: 'whatsapp', body: 'Robado' }],
  listAutoReplies: ['/messaging/auto-replies/:tenant'],
  deleteAutoReply: ['/messaging/auto-replies/:tenant/:reply'],
  addSuppression: ['/messaging/suppressions/:tenant', { channel: 'email', address: 'a@email.com' }],
  listSuppressions: ['/messaging/suppressions/:tenant'],
  removeSuppression: ['/messaging/suppressions/:tenant/:suppression'],
  createPayment: ['/payments/create', newPayment],
  postPayment: ['/payments', newPayment],
  listPayments: ['/payments?tenant_id=:tenant'],
  getPayment: ['/payments/:payment'],
  getPaymentStory: ['/payments/:payment/story'],
  capturePayment: ['/payments/:payment/capture', {}],
  cancelPayment: ['/payments/:payment/cancel'],
  refundPayment: ['/payments/:payment/refunds', { amount: 1 }],
  listRefunds: ['/payments/:payment/refunds'],
  createCheckout: ['/payments/checkouts', newCheckout],
  getCheckout: ['/payments/checkouts/:checkout'],
  savePaymentMethod: ['/payments/methods', newMethod],
  listPaymentMethods: ['/payments/methods?tenant_id=:tenant'],
  getPaymentMethod: ['/payments/methods/:method'],
  removePaymentMethod: ['/payments/methods/:method'],
  createSubscription: ['/payments/subscriptions', newSubscription],
  listSubscriptions: ['/payments/subscriptions?tenant_id=:tenant'],
  getSubscription: ['/payments/subscriptions/:subscription'],
  updateSubscription: ['/payments/subscriptions/:subscription', { paused: true }],
  cancelSubscription: ['/payments/subscriptions/:subscription/cancel'],
  savePaymentProvider: ['/payments/config/provider', stripe],
  listPaymentProviders: ['/payments/config/:tenant'],
  changePaymentProvider: ['/payments/config/:tenant/:paymentConnection', { isActive: false }],
  checkPaymentProvider: ['/payments/config/:tenant/:paymentConnection/check'],
  deletePaymentProvider: ['/payments/config/:tenant/:paymentConnection'],
  listPaymentLog: ['/payments/logs/:tenant'],
  getPaymentStats: ['/payments/stats/:tenant'],
  startReconciliation: ['/payments/reconciliations', { tenant_id: 'tableflow_123', provider: 'stripe' }],
  listReconciliations: ['/payments/reconciliations?tenant_id=:tenant'],
  getReconciliation: ['/payments/reconciliations/:reconciliation'],
  listAlertRules: ['/alerts/rules/:tenant'],
  saveAlertRule: ['/alerts/rules/:tenant/stolen', { kind: 'backlog' }],
  deleteAlertRule: ['/alerts/rules/:tenant/backlog'],
  saveAlertContacts: ['/alerts/contacts/:tenant', { contacts: [] }],
  getAlertContacts: ['/alerts/contacts/:tenant'],
  listAlertIncidents: ['/alerts/incidents?tenant_id=:tenant'],
}

/** What anybody may read: public keys of endpoints that have some. */
const open = ['getPublishedKeys']
/** Operations that name nobody, tested on their own below. */
const others = ['createProduct', 'listProducts', 'listTenants', 'listEventTypes', 'listReplays']
/** What only the operator may do. */
const operators = ['listDeadJobs', 'retryDeadJob', 'getJob']

interface Operation {
  operationId: string
  method: string
}

let operations: Operation[] = []
before(async () => {
  const { paths } = await admin.ok<{ paths: Record<string, Record<string, { operationId?: string }>> }>(
    'GET',
    '/openapi.json',
  )
  operations = Object.values(paths).flatMap((methods) =>
    Object.entries(methods).flatMap(([method, { operationId }]) =>
      operationId === undefined ? [] : [{ operationId, method: method.toUpperCase() }],
    ),
  )
})

describe('what is TableFlow’s does not exist for Genda', () => {
  test('every operation of the API is covered by this test', () => {
    const covered = new Set([...Object.keys(reaches), ...others, ...open, ...operators])
    assert.deepEqual(
      operations.map(({ operationId }) => operationId).filter((id) => !covered.has(id)),
      [],
    )
    assert.ok(operations.length >= covered.size)
  })

  for (const [operationId, [path, body]] of Object.entries(reaches)) {
    test(`${operationId}: 404 for another product’s key and another tenant’s key, as if there were no such id`, async () => {
      const { method } = operations.find((one) => one.operationId === operationId) ?? assert.fail(operationId)
      for (const caller of [genda, gendaTenant]) {
        const real = await caller.call(method, fill(path, ids), body)
        assert.equal(real.status, 404, `${method} ${path} → ${real.status} ${real.text}`)
        assertProblem(real, { status: 404, code: String(real.body['code']) })
        const { path: other, body: otherBody, names } = invent(path, body)
        const none = await caller.call(method, other, otherBody)
        assert.equal(shape(real, Object.values(ids)), shape(none, names))
      }
    })
  }

  test('nothing of it was changed or added', async () => {
    for (const path of [
      '/messaging/config/:tenant/:connection/check',
      '/webhooks/endpoints/:endpoint/test',
      '/webhooks/events/:event/replay',
    ]) {
      await tableflow.ok('POST', fill(path, ids))
    }
    const { data: keys } = await tableflow.ok<{ data: unknown[] }>('GET', '/products/tableflow/keys')
    assert.equal(keys.length, 1)
    const { data: log } = await tableflow.ok<{ data: unknown[] }>('GET', '/messaging/logs/tableflow_123')
    assert.equal(log.length, 1)
    const { data: templates } = await tableflow.ok<{ data: Array<{ text: string }> }>(
      'GET',
      '/messaging/templates/tableflow_123',
    )
    assert.deepEqual(
      templates.map(({ text }) => text),
      ['Hola'],
    )
    const { data: tenants } = await tableflow.ok<{ data: unknown[] }>('GET', '/tenants')
    assert.equal(tenants.length, 1)
  })
})

describe('lists show a caller its own', () => {
  interface Owned {
    data: Array<{ id: string; product_id?: string; tenant_id?: string | null }>
  }

  for (const path of ['/tenants', '/webhooks/endpoints', '/webhooks/events']) {
    test(`GET ${path} shows Genda nothing of TableFlow’s`, async () => {
      await genda.ok('POST', messages.gendaEmail.path, messages.gendaEmail.body)
      for (const caller of [genda, gendaTenant]) {
        const answer = await caller.call<Owned>('GET', path)
        assert.equal(answer.status, 200, answer.text)
        assert.ok(!answer.text.includes('tableflow'), answer.text)
      }
      assert.ok((await genda.ok<Owned>('GET', path)).data.length > 0)
    })
  }

  test('GET /webhooks/replays shows Genda only its own, and a tenant only what its key began', async () => {
    const { id } = await genda.ok<{ id: string }>('POST', '/webhooks/replays', { from: newReplay.from })
    const { data } = await genda.ok<Owned>('GET', '/webhooks/replays')
    assert.deepEqual(
      data.map((replay) => replay.id),
      [id],
    )
    assert.deepEqual((await gendaTenant.ok<Owned>('GET', '/webhooks/replays')).data, [])
  })

  test('asking for another product’s tenants or endpoints by filter gives nothing of them', async () => {
    for (const path of ['/tenants?product_id=tableflow', '/webhooks/endpoints?product_id=tableflow']) {
      for (const caller of [genda, gendaTenant]) {
        const answer = await caller.call<Partial<Owned>>('GET', path)
        if (answer.status === 404) continue
        assert.equal(answer.status, 200, answer.text)
        assert.ok(!answer.text.includes('tableflow'), answer.text)
      }
    }
  })

  test('a replay to another product’s endpoint finds no such endpoint', async () => {
    const { data } = await genda.ok<{ data: Array<{ id: string }> }>('GET', '/webhooks/events')
    const answer = await genda.call('POST', `/webhooks/events/${data[0]?.id}/replay`, {
      endpoint_id: ids['endpoint'],
    })
    assertProblem(answer, { status: 404, code: 'endpoint_not_found' })
  })

  test('an Idempotency-Key of another tenant gives nothing away', async () => {
    const headers = { 'idempotency-key': 'order-123' }
    const a = await tableflow.ok<Message>('POST', messages.tableflowEmail.path, mail, headers)
    const b = await genda.ok<Message>('POST', messages.gendaEmail.path, messages.gendaEmail.body, headers)
    assert.notEqual(a.id, b.id)
  })
})

describe('what each kind of key may do', () => {
  test('a product’s key acts for its tenants, new ones too; a tenant’s key for itself alone', async () => {
    await genda.ok('POST', '/tenants', { id: 'genda_457', product_id: 'genda', name: 'Second' })
    await genda.ok('GET', '/messaging/logs/genda_457')
    await gendaTenant.ok('GET', '/messaging/logs/genda_456')
    assertProblem(await gendaTenant.call('GET', '/messaging/logs/genda_457'), {
      status: 404,
      code: 'tenant_not_found',
    })
    assertProblem(await gendaTenant.call('GET', '/products/genda/keys'), {
      status: 404,
      code: 'product_not_found',
    })
  })

  test('neither makes products, and only a product’s key lists its product', async () => {
    for (const caller of [genda, gendaTenant]) {
      const answer = await caller.call('POST', '/products', { id: 'mine', name: 'Mine' })
      assertProblem(answer, { status: 403, code: 'admin_required' })
    }
    const { data } = await genda.ok<{ data: Array<{ id: string }> }>('GET', '/products')
    assert.deepEqual(
      data.map(({ id }) => id),
      ['genda'],
    )
    assert.equal((await gendaTenant.call('GET', '/products')).status, 403)
  })

  for (const [operationId, path] of [
    ['listDeadJobs', '/jobs/dead'],
    ['getJob', '/jobs/job_1'],
    ['retryDeadJob', '/jobs/dead/job_1/retry'],
  ] as const) {
    test(`${operationId} is the operator’s alone`, async () => {
      const { method } = operations.find((one) => one.operationId === operationId) ?? assert.fail(operationId)
      for (const caller of [genda, gendaTenant]) {
        assertProblem(await caller.call(method, path), { status: 403, code: 'admin_required' })
      }
    })
  }

  test('every operation refuses a key without its scope, and a caller without a key', async () => {
    const { key } = await admin.ok<{ key: string }>('POST', '/products/tableflow/keys', {
      scopes: ['messaging:send'],
    })
    const stranger = admin.as(undefined)
    for (const { operationId, method } of operations) {
      const [path, body] = reaches[operationId] ?? []
      if (path === undefined) continue
      const without = await stranger.call(method, fill(path, ids), body)
      assertProblem(without, { status: 401, code: 'key_missing' })
      if (/^(send|cancel)/.test(operationId)) continue
      const answer = await admin.as(key).call(method, fill(path, ids), body)
      assertProblem(answer, { status: 403, code: 'scope_missing' })
    }
  })

  test('a deleted key stops at once, an expired one by itself', async () => {
    const made = await admin.ok<{ id: string; key: string }>('POST', '/products/genda/keys', {
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    })
    const caller = admin.as(made.key)
    await pipecore.query('update api_keys set expires_at = now() where id = $1', [made.id])
    assertProblem(await caller.call('GET', '/tenants'), { status: 401, code: 'key_expired' })
    const other = await admin.ok<{ id: string; key: string }>('POST', '/products/genda/keys', {})
    await admin.as(other.key).ok('GET', '/tenants')
    await genda.ok('DELETE', `/products/genda/keys/${other.id}`)
    assertProblem(await admin.as(other.key).call('GET', '/tenants'), { status: 401, code: 'key_unknown' })
  })
})

test('no secret stands in any log line, answer, event or row', () => assertNothingLeaked(world))

function fill(path: string, values: Record<string, string>): string {
  return path.replaceAll(/:([a-zA-Z]+)/g, (_whole, name: string) => values[name] ?? assert.fail(name))
}

/** The same call about ids that never were, of the same kind. */
function invent(path: string, body: object | undefined) {
  const other = Object.fromEntries(
    Object.entries(ids).map(([name, id]) => [
      name,
      id.includes('_01') ? `${id.slice(0, -4)}zzzz` : `no_${name.toLowerCase()}`,
    ]),
  )
  const text =
    body &&
    JSON.stringify(body).replaceAll(/"tableflow(_123)?"/g, (_whole, tenant?: string) =>
      tenant ? `"${other['tenant']}"` : `"${other['product']}"`,
    )
  return {
    path: fill(path, other),
    body: text && (JSON.parse(text) as object),
    names: Object.values(other),
  }
}

/** An answer without what must differ: its own request id and the ids it was asked for. */
function shape({ status, text }: Answer<unknown>, names: string[]): string {
  const bare = text.replace(/"request_id":"[^"]*"/, '')
  return names
    .filter((name) => name.length > 2)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, name) => left.replaceAll(name, '…'), `${status} ${bare}`)
}
