import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { messages, setProvider } from './mission-examples.ts'
import {
  assertNothingLeaked,
  connectAll,
  customerWrites,
  findAtProvider,
  type Message,
  startWorld,
  tenantOf,
  waitForStatus,
} from './mission-world.ts'
import { eventually } from './harness.ts'

const world = await startWorld({ after })
const { backend, sandbox } = world
const { genda, roe } = world.products
await connectAll(world)

interface Story extends Message {
  attempts: Array<{ outcome: string | null }>
  reports: Array<{ status: string; applied: boolean }>
}

interface Callback {
  id: string
  state: string
}

const phone = (fault: number) => `+5698888${String(fault).padStart(4, '0')}`
const sms = (to: string) => ({ ...messages.roeSms.body, to })
const mail = (name: string) => ({ ...messages.roeEmail.body, to: `${name}@email.com` })

/** How often each event about a message came to the backend, by distinct event. */
function countEvents(messageId: string): Record<string, number> {
  const unique = new Map(
    backend.events
      .filter(({ body }) => body['message_id'] === messageId)
      .map(({ body }) => [body.id, body.event]),
  )
  const counts: Record<string, number> = {}
  for (const event of unique.values()) counts[event] = (counts[event] ?? 0) + 1
  return counts
}

/** Until every callback about a message was taken and each of its events has arrived. */
async function settle(messageId: string): Promise<Story> {
  const caller = roe
  await eventually(async () => {
    const { messages: got } = await sandbox.control<{ messages: Array<{ callbacks: Callback[] }> }>(
      'GET',
      `/messages?reference=${messageId}`,
    )
    return got.flatMap(({ callbacks }) => callbacks).every(({ state }) => state === 'delivered')
  })
  return eventually(async () => {
    const story = await caller.ok<Story & { events: Array<{ deliveries: Array<{ state: string }> }> }>(
      'GET',
      `/messaging/messages/${messageId}`,
    )
    const open = story.events
      .flatMap(({ deliveries }) => deliveries)
      .filter(({ state }) => state !== 'delivered')
    return open.length === 0 && story
  })
}

describe('reports that come twice, late and in the wrong order', () => {
  const kinds = [
    ['twice', '/messaging/send/sms', sms(phone(8))],
    ['in reverse order', '/messaging/send/sms', sms(phone(9))],
    ['before the provider answered', '/messaging/send/sms', sms(phone(14))],
    ['twice, by SendGrid', '/messaging/send/email', mail('duplicate')],
    ['in reverse order, by SendGrid', '/messaging/send/email', mail('reordered')],
    ['before SendGrid answered', '/messaging/send/email', mail('before-answer')],
  ] as const

  for (const [name, path, body] of kinds) {
    test(`${name}: the message ends delivered, each step is told at most once, none runs backwards`, async () => {
      const { id } = await roe.ok<Message>('POST', path, body)
      await waitForStatus(roe, id, 'delivered')
      const story = await settle(id)
      assert.equal(story.status, 'delivered')
      assert.equal((await findAtProvider(world, id)).effects, 1)
      const counts = countEvents(id)
      assert.deepEqual([counts['message.queued'], counts['message.delivered']], [1, 1])
      assert.ok(
        Object.values(counts).every((count) => count === 1),
        JSON.stringify(counts),
      )
      const applied = story.reports.filter((report) => report.applied).map(({ status }) => status)
      assert.equal(applied.at(-1), 'delivered')
    })
  }

  test('a webhook that is played again word for word changes nothing', async () => {
    const { id } = await roe.ok<Message>('POST', '/messaging/send/sms', messages.roeSms.body)
    await waitForStatus(roe, id, 'delivered')
    const before = await settle(id)
    const { messages: got } = await sandbox.control<{ messages: Array<{ callbacks: Callback[] }> }>(
      'GET',
      `/messages?reference=${id}`,
    )
    for (const callback of got[0]?.callbacks ?? assert.fail()) {
      const again = await sandbox.control<{ answered: { status: number } }>('POST', '/callbacks/replay', {
        id: callback.id,
      })
      assert.equal(again.answered.status, 200)
    }
    // A later message of the same lane: when it is through, the replays before it are too.
    const next = await roe.ok<Message>('POST', '/messaging/send/sms', messages.roeSms.body)
    await waitForStatus(roe, next.id, 'delivered')
    const now = await settle(id)
    assert.deepEqual(now, before)
    assert.deepEqual(
      Object.values(countEvents(id)).filter((count) => count !== 1),
      [],
    )
  })
})

describe('a call whose answer is lost', () => {
  const kinds = [
    ['the connection breaks after the message was taken', '/messaging/send/sms', sms(phone(6))],
    ['the provider never answers', '/messaging/send/sms', sms(phone(7))],
    ['a proxy answers 502 though the message was taken', '/messaging/send/sms', sms(phone(16))],
    ['SendGrid never answers', '/messaging/send/email', mail('hang-after')],
    ['SendGrid’s proxy answers 500 though the mail was taken', '/messaging/send/email', mail('500-after')],
  ] as const

  test('is never made again blindly: the callback tells that the message went out, once', async () => {
    const sent = await Promise.all(
      kinds.map(async ([name, path, body]) => ({ name, id: (await roe.ok<Message>('POST', path, body)).id })),
    )
    for (const { name, id } of sent) {
      await waitForStatus(roe, id, 'delivered')
      const outcomes = await eventually(async () => {
        const { attempts } = await roe.ok<Story>('GET', `/messaging/messages/${id}`)
        return attempts.every(({ outcome }) => outcome !== null) && attempts.map(({ outcome }) => outcome)
      })
      assert.deepEqual(outcomes, ['unknown'], name)
      assert.equal((await findAtProvider(world, id)).effects, 1, name)
    }
  })

  test('is made again under the same key where the provider keeps one: Resend', async () => {
    const { id } = await genda.ok<Message>('POST', '/messaging/send/email', {
      ...messages.gendaEmail.body,
      to: 'reset-after+1@email.com',
    })
    await waitForStatus(genda, id, 'delivered')
    assert.equal((await findAtProvider(world, id)).effects, 1)
  })

  test('is made again when it certainly had no effect', async () => {
    const { id } = await roe.ok<Message>('POST', '/messaging/send/sms', sms('+56988881001'))
    const story = (await waitForStatus(roe, id, 'delivered')) as Story
    assert.deepEqual(
      story.attempts.map(({ outcome }) => outcome),
      ['refused', 'done'],
    )
    assert.equal((await findAtProvider(world, id)).effects, 1)
  })

  test('a recipient that can’t be reached ends failed, with the provider’s reason in the event', async () => {
    const { id } = await roe.ok<Message>('POST', '/messaging/send/sms', sms(phone(11)))
    await waitForStatus(roe, id, 'failed')
    const { body } = await backend.waitFor('message.failed', (event) => event['message_id'] === id)
    const error = body['error'] as { kind: string; code: string; message: string }
    assert.equal(error.code, '30003')
    assert.ok(error.message.length > 10)
  })
})

describe('what customers send', () => {
  test('every message of a batch is received, in whatever kind', async () => {
    const from = '56911140001'
    const { message_ids: ids } = await sandbox.control<{ message_ids: string[] }>('POST', '/inbound/meta', {
      account: setProvider.gendaWhatsapp.credentials.phoneNumberId,
      from,
      text: 'Hola 👋',
      batch: [
        { from, media: { kind: 'image', caption: 'Mi receta' } },
        { from, location: { latitude: -33.45, longitude: -70.66 } },
        { from, reply_button: { id: 'confirm', title: 'Confirmar' } },
        { from, reaction: { message_id: 'wamid.x', emoji: '👍' } },
      ],
    })
    for (const id of ids) {
      const { body } = await backend.waitFor(
        'message.received',
        (event) => event['provider_message_id'] === id,
      )
      assert.equal(body.tenant_id, tenantOf.genda)
      assert.equal(body['from'], `+${from}`)
    }
  })

  test('a text with a NUL and half of an emoji is received all the same', async () => {
    await customerWrites(world, 'genda', 'Ho\u0000la \ud83c', { from: '+56911140002' })
    const event = await backend.waitFor('message.received', (body) => body['from'] === '+56911140002')
    assert.match(String(event.body['text']), /^Ho.?la /u)
  })

  test('an e-mail reply is received with its subject and text', async () => {
    const { message_ids: ids } = await sandbox.control<{ message_ids: string[] }>(
      'POST',
      '/inbound/sendgrid',
      {
        account: setProvider.roeEmail.credentials.apiKey,
        from: 'Ana Pérez <ana@email.com>',
        to: 'noreply@roe.com',
        subject: 'Re: Tu pedido está en camino',
        text: '¡Gracias! 🎉',
      },
    )
    assert.equal(ids.length, 1)
    const { body } = await backend.waitFor('message.received', (event) => event['channel'] === 'email')
    assert.deepEqual(
      [body['from'], body['subject'], body['text']],
      ['ana@email.com', 'Re: Tu pedido está en camino', '¡Gracias! 🎉'],
    )
  })
})

test('no secret stands in any log line, answer, event or row', () => assertNothingLeaked(world))
