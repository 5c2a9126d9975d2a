import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { messages, setProvider, switches } from './mission-examples.ts'
import {
  assertNothingLeaked,
  assertProblem,
  connect,
  connectAll,
  customerWrites,
  findAtProvider,
  type Message,
  startWorld,
  waitForStatus,
} from './mission-world.ts'
import { eventually } from './harness.ts'

const world = await startWorld({ after })
const { backend, sandbox, pipecore } = world
const { tableflow, genda, roe } = world.products
await connectAll(world)

interface Logged extends Message {
  to: string
  auto_reply: string | null
  reference: string | null
}

describe('automatic replies', () => {
  const replies = (to: string) =>
    genda
      .ok<{ data: Logged[] }>('GET', `/messaging/logs/genda_456?direction=out&to=${encodeURIComponent(to)}`)
      .then(({ data }) => data)

  test('a customer who answers REPROGRAMAR gets the reply of that keyword, once, at the provider', async () => {
    await genda.ok('PUT', '/messaging/auto-replies/genda_456/reprogramar', {
      channel: 'whatsapp',
      keywords: ['reprogramar'],
      body: 'Elige otra hora: https://genda.com/reprogramar 🗓️',
      max_per_hour: 2,
    })
    const from = '+56911110001'
    const received = await customerWrites(world, 'genda', '¡Quiero REPROGRAMAR, por favor!', { from })
    const [reply] = await eventually(async () => {
      const found = await replies(from)
      return found[0]?.status === 'read' && found
    })
    assert.equal(reply?.auto_reply, 'reprogramar')
    assert.equal(reply.reference, received)
    const { effects, messages: got } = await findAtProvider(world, reply.id)
    assert.equal(effects, 1)
    assert.equal(got[0]?.text, 'Elige otra hora: https://genda.com/reprogramar 🗓️')
    // Of two reports at once the later one may be read first: then the earlier is no news.
    await backend.waitFor('message.read', (event) => event['message_id'] === reply.id)
  })

  test('neither other words, nor opt-out words, nor more than the cap an hour are answered', async () => {
    const from = '+56911110002'
    await customerWrites(world, 'genda', 'Gracias, ahí estaré', { from })
    for (let count = 0; count < 3; count += 1) await customerWrites(world, 'genda', 'reprogramar', { from })
    await customerWrites(world, 'genda', 'STOP', { from })
    await backend.waitFor('message.opted_out', (event) => event['address'] === from)
    assert.equal((await replies(from)).length, 2)
  })
})

describe('STOP and its like suppress on every provider', () => {
  const optOuts = [
    {
      name: 'STOP by SMS to Twilio',
      caller: roe,
      tenant: 'roe_789',
      channel: 'sms',
      address: '+56911120001',
      reason: 'opted_out',
      act: () =>
        sandbox.control('POST', '/inbound/twilio', {
          from: '+56911120001',
          to: setProvider.roeSms.credentials.phoneNumber,
          account: setProvider.roeSms.credentials.accountSid,
          text: 'Stop',
        }),
    },
    {
      name: 'STOP on WhatsApp to Twilio',
      caller: tableflow,
      tenant: 'tableflow_123',
      channel: 'whatsapp',
      address: '+56911120002',
      reason: 'opted_out',
      act: () => customerWrites(world, 'tableflow', 'STOP', { from: '+56911120002' }),
    },
    {
      name: 'BAJA on WhatsApp to Meta',
      caller: genda,
      tenant: 'genda_456',
      channel: 'whatsapp',
      address: '+56911120003',
      reason: 'opted_out',
      act: () => customerWrites(world, 'genda', '¡Baja!', { from: '+56911120003' }),
    },
    {
      name: 'an unsubscribe at SendGrid',
      caller: roe,
      tenant: 'roe_789',
      channel: 'email',
      address: 'unsubscribe@email.com',
      reason: 'unsubscribed',
      act: () => roe.ok('POST', '/messaging/send/email', mailTo('roe_789', 'unsubscribe@email.com')),
    },
    {
      name: 'a hard bounce at SendGrid',
      caller: roe,
      tenant: 'roe_789',
      channel: 'email',
      address: 'bounce@email.com',
      reason: 'bounced',
      act: () => roe.ok('POST', '/messaging/send/email', mailTo('roe_789', 'bounce@email.com')),
    },
    {
      name: 'a spam complaint at SendGrid',
      caller: roe,
      tenant: 'roe_789',
      channel: 'email',
      address: 'complaint@email.com',
      reason: 'complained',
      act: () => roe.ok('POST', '/messaging/send/email', mailTo('roe_789', 'complaint@email.com')),
    },
    {
      name: 'a hard bounce at Resend',
      caller: tableflow,
      tenant: 'tableflow_123',
      channel: 'email',
      address: 'bounce@email.com',
      reason: 'bounced',
      act: () => tableflow.ok('POST', '/messaging/send/email', mailTo('tableflow_123', 'bounce@email.com')),
    },
    {
      name: 'a spam complaint at Resend',
      caller: tableflow,
      tenant: 'tableflow_123',
      channel: 'email',
      address: 'complaint@email.com',
      reason: 'complained',
      act: () =>
        tableflow.ok('POST', '/messaging/send/email', mailTo('tableflow_123', 'complaint@email.com')),
    },
  ]

  for (const { name, caller, tenant, channel, address, reason, act } of optOuts) {
    test(`${name} is told as an event, listed, and refuses the next message`, async () => {
      await act()
      const { body } = await backend.waitFor(
        'message.opted_out',
        (event) => event.tenant_id === tenant && event['channel'] === channel && event['address'] === address,
      )
      assert.equal(body['reason'], reason)
      const list = await caller.ok<{ data: Array<{ address: string; reason: string }> }>(
        'GET',
        `/messaging/suppressions/${tenant}?channel=${channel}`,
      )
      assert.equal(list.data.find((one) => one.address === address)?.reason, reason)
      const next =
        channel === 'email' ? mailTo(tenant, address) : { tenant_id: tenant, to: address, body: 'Hola' }
      const refused = await caller.call('POST', `/messaging/send/${channel}`, next)
      assertProblem(refused, { status: 422, code: 'recipient_suppressed', field: 'to' })
    })
  }

  test('the list outlives a switch of provider, and is this tenant’s alone', async () => {
    await connect(world, switches.tableflowToSendgrid)
    const refused = await tableflow.call(
      'POST',
      '/messaging/send/email',
      mailTo('tableflow_123', 'BOUNCE@email.com'),
    )
    assertProblem(refused, { status: 422, code: 'recipient_suppressed', field: 'to' })
    await genda.ok('POST', '/messaging/send/email', mailTo('genda_456', 'complaint@email.com'))
  })

  test('START lifts a STOP', async () => {
    const from = '+56911120002'
    await customerWrites(world, 'tableflow', 'Start', { from })
    await backend.waitFor('message.opted_in', (event) => event['address'] === from)
    await tableflow.ok('POST', '/messaging/send/whatsapp', {
      tenant_id: 'tableflow_123',
      to: from,
      body: '¡Bienvenido de vuelta!',
    })
  })
})

describe('an Idempotency-Key', () => {
  const send = (body: object, key: string) =>
    roe.call<Message>('POST', '/messaging/send/sms', body, { 'idempotency-key': key })

  test('sends once, however many calls come at once or later', async () => {
    const key = randomUUID()
    const answers = await Promise.all(Array.from({ length: 6 }, () => send(messages.roeSms.body, key)))
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]))
    const ids = new Set(answers.map(({ body }) => body.id))
    assert.equal(ids.size, 1)
    const [id = ''] = ids
    await waitForStatus(roe, id, 'delivered')
    assert.equal((await send(messages.roeSms.body, key)).body.id, id)
    assert.equal((await findAtProvider(world, id)).effects, 1)
  })

  test('is refused with another body, and belongs to one tenant', async () => {
    const key = randomUUID()
    const first = await send(messages.roeSms.body, key)
    const other = await send({ ...messages.roeSms.body, body: 'ROE: otro texto' }, key)
    assertProblem(other, { status: 422, code: 'idempotency_key_reused', field: 'Idempotency-Key' })
    const theirs = await genda.ok<Message>('POST', messages.gendaEmail.path, messages.gendaEmail.body, {
      'idempotency-key': key,
    })
    assert.notEqual(theirs.id, first.body.id)
  })
})

describe('a message for later', () => {
  const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()

  test('waits for its time and then goes out', async () => {
    const sendAt = inMs(1_500)
    const message = await roe.ok<Message>('POST', '/messaging/send/sms', {
      ...messages.roeSms.body,
      send_at: sendAt,
    })
    assert.equal(message.status, 'scheduled')
    await backend.waitFor('message.scheduled', (event) => event['message_id'] === message.id)
    await waitForStatus(roe, message.id, 'delivered')
    const { attempts } = await roe.ok<{ attempts: Array<{ started_at: string }> }>(
      'GET',
      `/messaging/messages/${message.id}`,
    )
    assert.equal(attempts.length, 1)
    assert.ok((attempts[0]?.started_at ?? '') >= sendAt)
  })

  test('is canceled before it goes out, once and for all', async () => {
    const message = await roe.ok<Message>('POST', '/messaging/send/sms', {
      ...messages.roeSms.body,
      send_at: inMs(3_600_000),
    })
    const path = `/messaging/messages/${message.id}/cancel`
    assert.equal((await roe.ok<Message>('POST', path)).status, 'canceled')
    assert.equal((await roe.ok<Message>('POST', path)).status, 'canceled')
    await backend.waitFor('message.canceled', (event) => event['message_id'] === message.id)
    assert.deepEqual(await findAtProvider(world, message.id), { effects: 0, messages: [] })
  })

  test('can not be canceled once it was sent', async () => {
    const { id } = await roe.ok<Message>('POST', '/messaging/send/sms', messages.roeSms.body)
    await waitForStatus(roe, id, 'delivered')
    const answer = await roe.call('POST', `/messaging/messages/${id}/cancel`)
    assertProblem(answer, { status: 409, code: 'message_under_way' })
  })
})

describe('templates and the 24-hour window of WhatsApp', () => {
  const template = '/messaging/templates/genda_456/recordatorio'
  const to = '+56911130001'
  const choice = (locale: string) => ({
    name: 'recordatorio',
    locale,
    variables: { nombre: 'Ana', hora: '10:00 AM' },
  })
  const send = (body: object) =>
    genda.call<Message>('POST', '/messaging/send/whatsapp', { tenant_id: 'genda_456', ...body })

  test('a template is saved per locale, and the lint names what does not fit', async () => {
    const spanish = await genda.ok<{ variables: string[]; warnings: string[] }>('PUT', `${template}/es`, {
      text: 'Hola {{nombre}}, tu cita es a las {{hora}}.',
      references: { meta: { name: 'recordatorio_cita', language: 'es_CL' } },
    })
    assert.deepEqual(spanish.variables, ['nombre', 'hora'])
    assert.deepEqual(spanish.warnings, [])
    const portuguese = await genda.ok<{ warnings: string[] }>('PUT', `${template}/pt-BR`, {
      text: 'Olá {{nombre}}!',
      references: { meta: { name: 'recordatorio_cita', language: 'pt_BR' } },
    })
    assert.match(portuguese.warnings.join(), /hora/)
  })

  test('free text to a customer who never wrote is refused with the reason', async () => {
    const refused = await send({ to, body: 'Hola' })
    assertProblem(refused, { status: 422, code: 'window_closed', field: 'template' })
    assert.match(refused.text, /24 hours/)
  })

  for (const [asked, used] of [
    ['es-CL', 'es_CL'],
    ['pt', 'pt_BR'],
    ['fr', 'es_CL'],
  ] as const) {
    test(`a template asked for in ${asked} goes out in ${used} though the window is closed`, async () => {
      const { body: message } = await send({ to, template: choice(asked) })
      await waitForStatus(genda, message.id, 'read')
      const { messages: got } = await findAtProvider(world, message.id)
      const values = used === 'es_CL' ? ' Ana 10:00 AM' : ' Ana'
      assert.equal(got[0]?.text, `[recordatorio_cita ${used}]${values}`)
    })
  }

  test('text with a template beside it goes as the template while the window is closed, as text when open', async () => {
    const both = { to, body: 'Hola Ana, ¿nos vemos a las 10?', template: choice('es') }
    const closed = await send(both)
    await waitForStatus(genda, closed.body.id, 'read')
    assert.match(
      (await findAtProvider(world, closed.body.id)).messages[0]?.text ?? '',
      /^\[recordatorio_cita/,
    )
    await customerWrites(world, 'genda', 'Sí, claro', { from: to })
    const open = await send(both)
    await waitForStatus(genda, open.body.id, 'read')
    assert.equal((await findAtProvider(world, open.body.id)).messages[0]?.text, both.body)
  })

  test('the window closes 24 hours after the customer’s last message, and is this sender’s alone', async () => {
    const other = { tenant_id: 'tableflow_123', to, body: 'Hola' }
    assertProblem(await tableflow.call('POST', '/messaging/send/whatsapp', other), {
      status: 422,
      code: 'window_closed',
    })
    await pipecore.query(
      "update whatsapp_windows set last_inbound_at = last_inbound_at - interval '24 hours' where contact = $1",
      [to],
    )
    assertProblem(await send({ to, body: 'Hola' }), { status: 422, code: 'window_closed', field: 'template' })
  })

  test('a variable without a value is refused by name, and the preview tells it before', async () => {
    const partial = { name: 'recordatorio', locale: 'es', variables: { nombre: 'Ana' } }
    assertProblem(await send({ to, template: partial }), {
      status: 422,
      code: 'request_invalid',
      field: 'template.variables.hora',
    })
    const preview = await genda.ok('POST', `${template}/preview`, {
      locale: 'es',
      variables: { nombre: 'Ana', x: '1' },
    })
    assert.deepEqual(preview['missing'], ['hora'])
    assert.deepEqual(preview['unknown'], ['x'])
  })

  test('a deleted locale is gone', async () => {
    await genda.ok('DELETE', `${template}/pt-BR`)
    const { data } = await genda.ok<{ data: Array<{ locale: string }> }>('GET', template)
    assert.deepEqual(
      data.map(({ locale }) => locale),
      ['es'],
    )
  })
})

test('no secret stands in any log line, answer, event or row', () => assertNothingLeaked(world))

function mailTo(tenantId: string, to: string) {
  return { tenant_id: tenantId, to, subject: 'Novedades', textContent: 'Hola' }
}
