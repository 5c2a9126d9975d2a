import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { messages, setProvider, switches } from './mission-examples.ts'
import {
  assertNothingLeaked,
  assertProblem,
  bearerOf,
  connect,
  connectAll,
  type Connection,
  customerWrites,
  findAtProvider,
  type Message,
  type Product,
  products,
  startWorld,
  tenantOf,
  waitForStatus,
} from './mission-world.ts'
import { createClient, eventually, startPipeCore } from './harness.ts'

const world = await startWorld({ after })
const { admin, backend, pipecore, sandbox } = world

describe('1. the providers of three products are set as the mission writes them', () => {
  for (const [name, config] of Object.entries(setProvider)) {
    test(`${name}: ${config.provider} is taken with these credentials, and shows no secret of them`, async () => {
      const answer = await admin.call<Connection>('POST', '/messaging/config/provider', config)
      assert.equal(answer.status, 200, answer.text)
      assert.equal(answer.body.isActive, true)
      assert.equal(
        answer.body.webhook_url,
        `${pipecore.url}/messaging/webhook/${config.channel}?tenant_id=${config.tenantId}&provider=${config.provider}`,
      )
      for (const field of ['authToken', 'apiKey', 'accessToken', 'verifyToken'] as const) {
        const secret = (config.credentials as Record<string, string>)[field]
        if (secret !== undefined)
          assert.ok(!answer.text.includes(secret), `${field} stands in ${answer.text}`)
      }
    })
  }

  test('Meta sets its webhook up with the verify token, and is refused with another', async () => {
    const path = '/messaging/webhook/whatsapp?tenant_id=genda_456&provider=meta&hub.mode=subscribe'
    const stranger = admin.as(undefined)
    const right = await stranger.call(
      'GET',
      `${path}&hub.challenge=1158201444&hub.verify_token=genda_verify_token`,
    )
    assert.equal(right.status, 200)
    assert.equal(right.text, '1158201444')
    const wrong = await stranger.call(
      'GET',
      `${path}&hub.challenge=1158201444&hub.verify_token=guessed_token`,
    )
    assert.equal(wrong.status, 403)
    assert.ok(!wrong.text.includes('1158201444'))
  })

  test('a provider whose webhook secret is still missing is refused with the setting that is needed', async () => {
    const answer = await admin
      .as(undefined)
      .call('POST', '/messaging/webhook/email?tenant_id=roe_789&provider=sendgrid', '[]')
    assertProblem(answer, { status: 403, code: 'webhook_refused' })
    assert.match(answer.text, /webhookPublicKey/)
  })

  test('with the webhook secrets every connection passes its check in words', async () => {
    await connectAll(world)
    for (const product of products) {
      const { data } = await world.products[product].ok<{ data: Connection[] }>(
        'GET',
        `/messaging/config/${tenantOf[product]}`,
      )
      assert.equal(data.length, 2)
      for (const { id } of data) {
        const path = `/messaging/config/${tenantOf[product]}/${id}/check`
        const check = await world.products[product].ok<{ ok: boolean; notes: string[] }>('POST', path)
        assert.ok(check.ok, check.notes.join(' '))
        assert.ok(check.notes.length > 0)
      }
    }
  })
})

describe('2. each product sends what the mission sends', () => {
  const cases: Array<{
    name: keyof typeof messages
    product: Product
    provider: string
    ends: string
    statuses: string[]
  }> = [
    {
      name: 'tableflowWhatsapp',
      product: 'tableflow',
      provider: 'twilio',
      ends: 'read',
      statuses: ['sent', 'delivered', 'read'],
    },
    {
      name: 'tableflowEmail',
      product: 'tableflow',
      provider: 'resend',
      ends: 'delivered',
      statuses: ['sent', 'delivered'],
    },
    {
      name: 'gendaWhatsapp',
      product: 'genda',
      provider: 'meta',
      ends: 'read',
      statuses: ['sent', 'delivered', 'read'],
    },
    {
      name: 'gendaEmail',
      product: 'genda',
      provider: 'resend',
      ends: 'delivered',
      statuses: ['sent', 'delivered'],
    },
    {
      name: 'roeEmail',
      product: 'roe',
      provider: 'sendgrid',
      ends: 'delivered',
      statuses: ['sent', 'delivered'],
    },
    {
      name: 'roeSms',
      product: 'roe',
      provider: 'twilio',
      ends: 'delivered',
      statuses: ['sent', 'delivered'],
    },
    {
      name: 'separateDatabases',
      product: 'tableflow',
      provider: 'resend',
      ends: 'delivered',
      statuses: ['sent', 'delivered'],
    },
    {
      name: 'general',
      product: 'tableflow',
      provider: 'twilio',
      ends: 'read',
      statuses: ['sent', 'delivered', 'read'],
    },
  ]

  test('WhatsApp carries free text once the customer has written', async () => {
    await customerWrites(world, 'tableflow', 'Hola, quiero pedir 🍕')
    await customerWrites(world, 'genda', '¿A qué hora es mi cita?')
  })

  for (const { name, product, provider, ends, statuses } of cases) {
    test(`${name} goes out once by ${provider}, unchanged, and ends ${ends} with every report told`, async () => {
      const caller = world.products[product]
      const { path, body } = messages[name]
      const answer = await caller.call<Message>('POST', path, body)
      assert.equal(answer.status, 202, answer.text)
      assert.match(answer.body.id, /^msg_/)
      const ended = await waitForStatus(caller, answer.body.id, ends)
      assert.equal(ended.provider, provider)

      const got = await findAtProvider(world, answer.body.id)
      assert.equal(got.effects, 1)
      const sent = 'body' in body ? body.body : 'message' in body ? body.message : body.htmlContent
      assert.equal(got.messages[0]?.html ?? got.messages[0]?.text, sent)
      if ('subject' in body) assert.equal(got.messages[0]?.subject, body.subject)

      // A report that overtakes another makes the one before it history: only these two are sure to be events.
      for (const status of ['queued', ends]) {
        const event = await backend.waitFor(
          `message.${status}`,
          (one) => one['message_id'] === answer.body.id,
        )
        assert.equal(event.body['status'], status)
        assert.equal(event.body.tenant_id, tenantOf[product])
        assert.equal(event.path, `/functions/v1/webhooks/${product}`)
        assert.equal(event.headers['authorization'], `Bearer ${bearerOf(product)}`)
        assert.equal(event.headers['webhook-id'], event.body.id)
      }
      await eventually(async () => {
        const { reports } = await caller.ok<Story>('GET', `/messaging/messages/${answer.body.id}`)
        const told = new Set(reports.map(({ status }) => status))
        assert.deepEqual(
          statuses.filter((status) => !told.has(status)),
          [],
        )
        return true
      })
    })
  }

  test('an event is flat and in snake case, as the mission writes payment.confirmed', () => {
    const [event] = backend.events.filter(({ body }) => body.event === 'message.delivered')
    for (const [field, value] of Object.entries(event?.body ?? {})) {
      assert.match(field, /^[a-z][a-z_]*$/)
      assert.ok(value === null || typeof value !== 'object' || Array.isArray(value), `${field} is nested`)
    }
    assert.deepEqual(
      ['event', 'id', 'message_id', 'occurred_at', 'status', 'tenant_id', 'trace_id'].filter(
        (field) => !(field in (event?.body ?? {})),
      ),
      [],
    )
  })

  test('the story of a message tells attempts, reports, events and deliveries under one trace', async () => {
    const { path, body } = messages.roeSms
    const { id } = await world.products.roe.ok<Message>('POST', path, body)
    const story = await eventually(async () => {
      const one = await world.products.roe.ok<Story>('GET', `/messaging/messages/${id}`)
      return one.reports.length === 2 && one.events.every(isDelivered) && one
    })
    assert.deepEqual(
      story.attempts.map(({ outcome }) => outcome),
      ['done'],
    )
    assert.deepEqual(story.reports.map(({ status }) => status).toSorted(), ['delivered', 'sent'])
    const types = story.events.map(({ type }) => type)
    assert.deepEqual([types.at(0), types.at(-1)], ['message.queued', 'message.delivered'])
    for (const event of story.events) assert.equal(event.trace_id, story.trace_id)
  })

  test('with ?wait the answer already tells what the provider said', async () => {
    const { path, body } = messages.roeSms
    const message = await world.products.roe.ok<Message>('POST', `${path}?wait=5`, body)
    assert.match(message.provider_message_id ?? '', /^SM/)
  })
})

describe('3. providers are switched while messages flow', () => {
  test('TableFlow goes from Resend to SendGrid: each e-mail ends once, where it began', async () => {
    const fault = { provider: 'resend', fault: 'slow', after_ms: 150 }
    await sandbox.control('POST', '/faults', fault)
    const caller = world.products.tableflow
    const send = (index: number) =>
      caller.ok<Message>('POST', '/messaging/send/email', {
        ...messages.tableflowEmail.body,
        to: `cliente${index}@email.com`,
      })
    const flow = Promise.all(Array.from({ length: 12 }, (_, index) => send(index)))
    const switched = connect(world, switches.tableflowToSendgrid)
    const before = await flow
    await switched
    const behind = await Promise.all(Array.from({ length: 12 }, (_, index) => send(100 + index)))
    assert.deepEqual(new Set(behind.map(({ provider }) => provider)), new Set(['sendgrid']))
    assert.ok(before.some(({ provider }) => provider === 'resend'))
    for (const { id, provider } of [...before, ...behind]) {
      const ended = await waitForStatus(caller, id, 'delivered')
      assert.equal(ended.provider, provider)
      const { effects, messages: got } = await findAtProvider(world, id)
      assert.equal(effects, 1)
      assert.equal(got[0]?.provider, provider)
      await backend.waitFor('message.delivered', (event) => event['message_id'] === id)
    }
    await sandbox.control('DELETE', '/faults')
  })

  test('Genda goes from Meta to Twilio: what Meta still reports counts, new messages go by Twilio', async () => {
    const caller = world.products.genda
    await sandbox.control('PATCH', '/settings', { callback_delay_ms: 200 })
    const old = await caller.ok<Message>('POST', messages.gendaWhatsapp.path, messages.gendaWhatsapp.body)
    await connect(world, switches.gendaToTwilio)
    await sandbox.control('PATCH', '/settings', { callback_delay_ms: 5 })
    const refused = await caller.call('POST', messages.gendaWhatsapp.path, messages.gendaWhatsapp.body)
    assertProblem(refused, { status: 422, code: 'window_closed', field: 'template' })
    await customerWrites(world, 'genda', 'REPROGRAMAR', { by: 'twilio' })
    const made = await caller.ok<Message>('POST', messages.gendaWhatsapp.path, messages.gendaWhatsapp.body)
    assert.equal((await waitForStatus(caller, made.id, 'read')).provider, 'twilio')
    assert.equal((await waitForStatus(caller, old.id, 'read')).provider, 'meta')
    assert.equal((await findAtProvider(world, made.id)).effects, 1)
    assert.equal((await findAtProvider(world, old.id)).effects, 1)
  })

  test('a switch made at one process counts at once at another', async () => {
    const second = await startPipeCore({ after }, { sandbox, beside: pipecore, role: 'api' })
    const there = createClient(second.url, pipecore.adminKey)
    const { data } = await admin.ok<{ data: Connection[] }>('GET', '/messaging/config/roe_789')
    const twilio = data.find(({ provider }) => provider === 'twilio')
    for (const isActive of [false, true, false, true]) {
      await admin.ok('PATCH', `/messaging/config/roe_789/${twilio?.id}`, { isActive })
      const answer = await there.call('POST', messages.roeSms.path, messages.roeSms.body)
      if (isActive) assert.equal(answer.status, 202, answer.text)
      else assertProblem(answer, { status: 422, code: 'connection_missing' })
    }
  })

  test('the configuration shows which provider is active after the switch', async () => {
    const { data } = await world.products.genda.ok<{ data: Connection[] }>(
      'GET',
      '/messaging/config/genda_456',
    )
    const active = data.filter(({ isActive }) => isActive).map(({ provider }) => provider)
    assert.deepEqual(active.toSorted(), ['resend', 'twilio'])
  })
})

describe('4. logs, statistics and configuration of each tenant', () => {
  interface Log {
    data: Array<Message & { tenant_id: string; channel: string; direction: string; to: string }>
    next_cursor: string | null
  }

  test('GET /messaging/logs/tableflow_123?limit=50 lists the newest messages of this tenant alone', async () => {
    const log = await world.products.tableflow.ok<Log>('GET', '/messaging/logs/tableflow_123?limit=50')
    assert.ok(log.data.length >= 28)
    assert.ok(log.data.every(({ tenant_id }) => tenant_id === 'tableflow_123'))
    const ids = log.data.map(({ id }) => id)
    assert.deepEqual(ids, ids.toSorted().toReversed())
  })

  test('the log filters by channel, provider, status, recipient and direction, and pages to its end', async () => {
    const caller = world.products.tableflow
    const list = (query: string) => caller.ok<Log>('GET', `/messaging/logs/tableflow_123?${query}`)
    for (const { channel } of (await list('channel=whatsapp')).data) assert.equal(channel, 'whatsapp')
    for (const { provider } of (await list('provider=sendgrid')).data) assert.equal(provider, 'sendgrid')
    for (const { status } of (await list('status=read')).data) assert.equal(status, 'read')
    assert.equal((await list('to=cliente3@email.com')).data.length, 1)
    assert.equal((await list('direction=in')).data.length, 1)
    const seen: string[] = []
    let query = 'limit=7'
    for (;;) {
      const page = await list(query)
      seen.push(...page.data.map(({ id }) => id))
      if (page.next_cursor === null) break
      query = `limit=7&cursor=${page.next_cursor}`
    }
    assert.equal(new Set(seen).size, seen.length)
    assert.equal(seen.length, (await list('limit=200')).data.length)
  })

  test('GET /messaging/stats/genda_456 counts by channel, provider, status and day, with rates and latencies', async () => {
    const stats = await world.products.genda.ok<Stats>('GET', '/messaging/stats/genda_456')
    assert.deepEqual(stats.totals, {
      sent: 4,
      received: 2,
      delivery_rate: 1,
      read_rate: 0.75,
      failure_rate: 0,
    })
    const counted = stats.counts.map((row) => [
      row.channel,
      row.provider,
      row.direction,
      row.status,
      row.count,
    ])
    assert.deepEqual(counted, [
      ['email', 'resend', 'out', 'delivered', 1],
      ['whatsapp', 'meta', 'in', 'received', 1],
      ['whatsapp', 'meta', 'out', 'read', 2],
      ['whatsapp', 'twilio', 'in', 'received', 1],
      ['whatsapp', 'twilio', 'out', 'read', 1],
    ])
    for (const { provider_call: call } of stats.latency_ms) assert.ok((call.p99 ?? -1) >= (call.p50 ?? 0))
  })

  test('GET /messaging/config/roe_789 shows the providers with every secret masked', async () => {
    const answer = await world.products.roe.call<{ data: Connection[] }>('GET', '/messaging/config/roe_789')
    const shown = answer.body.data.map(({ provider }) => provider).toSorted()
    assert.deepEqual(shown, ['sendgrid', 'twilio'])
    for (const secret of ['roe_twilio_token', 'SG.roe_sendgrid_key']) assert.ok(!answer.text.includes(secret))
  })
})

test('every event that reached a backend was signed with the secret of its own product', () => {
  assert.deepEqual(backend.refused, [])
  for (const { body, signedBy } of backend.events) {
    const product = products.find((one) => tenantOf[one] === body.tenant_id)
    assert.deepEqual(signedBy, [backend.secrets.indexOf(world.endpointSecrets[product!])])
  }
})

test('no secret stands in any log line, answer, event or row', () => assertNothingLeaked(world))

interface Story extends Message {
  trace_id: string
  attempts: Array<{ outcome: string }>
  reports: Array<{ status: string }>
  events: Array<{ type: string; trace_id: string; deliveries: Array<{ state: string }> }>
}

function isDelivered({ deliveries }: Story['events'][number]): boolean {
  return deliveries.length === 1 && deliveries.every(({ state }) => state === 'delivered')
}

interface Stats {
  totals: Record<string, number>
  counts: Array<{ channel: string; provider: string; direction: string; status: string; count: number }>
  latency_ms: Array<{ provider_call: { p50: number | null; p99: number | null } }>
}
