import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isValidPhoneNumber } from 'libphonenumber-js'
import { magicRecipients } from './faults.ts'
import type { FaultName } from './faults.ts'
import { formOf, startReceiver, startTestSandbox } from './test-receiver.ts'
import type { TestSandbox } from './test-receiver.ts'
import { providerIds } from './world.ts'
import type { ProviderId } from './world.ts'

type Answer = { status: number; headers: Headers; body: string }

const magicPhone = (fault: FaultName, times = 0) => {
  const { recipient } = magicRecipients.find(
    (magic) => magic.fault === fault && magic.recipient.startsWith('+'),
  )!
  return `${recipient.slice(0, -4)}${times}${recipient.slice(-3)}`
}
const magicMail = (fault: FaultName, times = 0) => {
  const { recipient } = magicRecipients.find(
    (magic) => magic.fault === fault && magic.recipient.endsWith('@…'),
  )!
  return recipient.replace('@…', times > 0 ? `+${times}@example.com` : '@example.com')
}

async function post(url: string, headers: Record<string, string>, body: string): Promise<Answer> {
  const answer = await fetch(url, { method: 'POST', headers, body })
  return { status: answer.status, headers: answer.headers, body: await answer.text() }
}

const json = { 'content-type': 'application/json' }

type Sending = { to: string; reference: string; hook: string }

/** A good send through each provider, with our id in its place. */
const sends: Record<ProviderId, (sandbox: TestSandbox, message: Sending) => Promise<Answer>> = {
  twilio: (sandbox, { to, reference, hook }) =>
    post(
      `${sandbox.providerUrls.twilio}/2010-04-01/Accounts/AC1/Messages.json`,
      { authorization: `Basic ${btoa('AC1:token')}`, 'content-type': 'application/x-www-form-urlencoded' },
      new URLSearchParams({
        To: to,
        From: '+15005550006',
        Body: 'x',
        StatusCallback: `${hook}?mid=${reference}`,
      }).toString(),
    ),
  meta: (sandbox, { to, reference }) =>
    post(
      `${sandbox.providerUrls.meta}/v23.0/111/messages`,
      { ...json, authorization: 'Bearer EAA' },
      JSON.stringify({
        messaging_product: 'whatsapp',
        to,
        type: 'text',
        text: { body: 'x' },
        biz_opaque_callback_data: reference,
      }),
    ),
  sendgrid: (sandbox, { to, reference }) =>
    post(
      `${sandbox.providerUrls.sendgrid}/v3/mail/send`,
      { ...json, authorization: 'Bearer SG.key' },
      JSON.stringify({
        personalizations: [{ to: [{ email: to }], custom_args: { message_id: reference } }],
        from: { email: 'a@example.com' },
        subject: 's',
        content: [{ type: 'text/plain', value: 't' }],
      }),
    ),
  resend: (sandbox, { to, reference }) =>
    post(
      `${sandbox.providerUrls.resend}/emails`,
      { ...json, authorization: 'Bearer re_key', 'idempotency-key': reference },
      JSON.stringify({ from: 'a@example.com', to, subject: 's', text: 't' }),
    ),
}

const accounts: Record<ProviderId, string> = {
  twilio: 'AC1',
  meta: '111',
  sendgrid: 'SG.key',
  resend: 're_key',
}

async function start(t: TestContext, provider: ProviderId) {
  const [sandbox, receiver] = await Promise.all([startTestSandbox(t), startReceiver(t)])
  const hook = `${receiver.url}/hook`
  await sandbox.control('PUT', `/accounts/${provider}/${accounts[provider]}`, { webhook_url: hook })
  await sandbox.control('PATCH', '/settings', { window: 'off', late_ms: 60 })
  const send = (to: string, reference = 'msg_1') => sends[provider](sandbox, { to, reference, hook })
  const effects = async () =>
    ((await sandbox.control('GET', '/messages'))['effects'] as Record<string, number>)['msg_1'] ?? 0
  const magic = provider === 'twilio' || provider === 'meta' ? magicPhone : magicMail
  return { sandbox, receiver, send, effects, magic }
}

/** Every state reported, in the order the reports arrived. */
function statesOf(
  provider: ProviderId,
  receiver: {
    received: Array<{ body: Buffer; method: string; url: string; headers: Record<string, string> }>
  },
): string[] {
  return receiver.received.flatMap((received) => {
    if (provider === 'twilio') return formOf(received)['MessageStatus'] ?? []
    const names = [...received.body.toString().matchAll(/"(?:event|status|type)":"(?:email\.)?(\w+)"/g)].map(
      ([, name]) => name!,
    )
    return names.filter((name) => ['sent', 'processed', 'delivered', 'read', 'failed'].includes(name))
  })
}

const lives: Record<ProviderId, string[]> = {
  twilio: ['sent', 'delivered'],
  meta: ['sent', 'delivered', 'read'],
  sendgrid: ['processed', 'delivered'],
  resend: ['sent', 'delivered'],
}

for (const provider of providerIds) {
  describe(`faults of ${provider}`, { concurrency: true }, () => {
    test('429 with a hint when to come back, and without; neither has an effect', async (t) => {
      const { send, effects, magic } = await start(t, provider)
      const hinted = await send(magic('rate_limited'))
      const bare = await send(magic('rate_limited_bare'))
      const hint = ({ headers }: Answer) => headers.get('retry-after') ?? headers.get('x-ratelimit-reset')
      assert.deepEqual([hinted.status, bare.status], [429, 429])
      assert.ok(hint(hinted))
      assert.equal(hint(bare), null)
      assert.equal(await effects(), 0)
    })

    test('a limited magic recipient plays as often as its number says, then works', async (t) => {
      const { send, effects, magic } = await start(t, provider)
      const to = magic('rate_limited', 2)
      const statuses = [await send(to), await send(to), await send(to)].map(({ status }) => status)
      assert.deepEqual(statuses.slice(0, 2), [429, 429])
      assert.ok(statuses[2]! < 300)
      assert.equal(await effects(), 1)
    })

    test('5xx as HTML: before any effect, and after it', async (t) => {
      const { send, effects, magic } = await start(t, provider)
      const before = await send(magic('server_error'))
      assert.equal(before.status, 503)
      assert.match(before.body, /^<html>/)
      assert.equal(await effects(), 0)
      assert.equal((await send(magic('server_error_after'))).status, 502)
      assert.equal(await effects(), 1)
    })

    test('a hang never answers: without effect, or with one', async (t) => {
      const { sandbox, send, effects, magic } = await start(t, provider)
      let answered = 0
      const hang = async (fault: FaultName, times: number) => {
        send(magic(fault)).then(
          () => (answered += 1),
          () => 'cut when the sandbox closes',
        )
        while (sandbox.world.requests.filter(({ answer }) => answer === 'hang').length < times)
          await nextTurn()
      }
      await hang('hang', 1)
      assert.equal(await effects(), 0)
      await hang('hang_after', 2)
      assert.equal(await effects(), 1)
      assert.equal(answered, 0)
    })

    test('a cut connection: without effect, or with one and its callbacks', async (t) => {
      const { receiver, send, effects, magic } = await start(t, provider)
      await assert.rejects(send(magic('reset')), TypeError)
      assert.equal(await effects(), 0)
      await assert.rejects(send(magic('reset_after')), TypeError)
      assert.equal(await effects(), 1)
      await receiver.waitFor(1)
    })

    test('duplicates carry the same ids', async (t) => {
      const { receiver, send, magic } = await start(t, provider)
      await send(magic('duplicate'))
      const twice = lives[provider].length * 2
      while (statesOf(provider, receiver).length < twice) await receiver.waitFor(receiver.received.length + 1)
      const bodies = receiver.received.flatMap(({ body }) =>
        provider === 'sendgrid'
          ? (JSON.parse(body.toString()) as unknown[]).map((event) => JSON.stringify(event))
          : body.toString(),
      )
      assert.equal(bodies.length, twice)
      assert.equal(new Set(bodies).size, lives[provider].length)
      const ids = receiver.received.map(({ headers }) => headers['svix-id'])
      if (provider === 'resend') assert.equal(new Set(ids).size, lives[provider].length)
    })

    test('reordered callbacks arrive last state first', async (t) => {
      const { receiver, send, magic } = await start(t, provider)
      await send(magic('reordered'))
      while (statesOf(provider, receiver).length < lives[provider].length)
        await receiver.waitFor(receiver.received.length + 1)
      assert.deepEqual(statesOf(provider, receiver), lives[provider].toReversed())
    })

    test('late callbacks come after the message is long delivered', async (t) => {
      const { sandbox, receiver, send, magic } = await start(t, provider)
      await send(magic('late'))
      const state = new Promise((resolve) => {
        receiver.answerWith(() => {
          resolve([...sandbox.world.messages.values()].at(-1)?.state)
          return { status: 200 }
        })
      })
      assert.equal(await state, lives[provider].at(-1))
    })

    test('what is still to be reported is counted', async (t) => {
      const { sandbox, send, magic } = await start(t, provider)
      await sandbox.control('PATCH', '/settings', { late_ms: 60_000 })
      await send(magic('late'))
      const { total, coming } = await sandbox.control('GET', '/callbacks?state=pending')
      assert.equal(total, 0)
      assert.notEqual(coming, 0)
      await sandbox.control('POST', '/reset')
      assert.equal((await sandbox.control('GET', '/callbacks'))['coming'], 0)
    })

    test('a callback can arrive before the answer to the send', async (t) => {
      const { receiver, send, magic } = await start(t, provider)
      let isAnswered = false
      const early = new Promise<boolean>((resolve) => {
        receiver.answerWith(() => {
          resolve(isAnswered)
          return { status: 200 }
        })
      })
      await send(magic('before_answer'))
      isAnswered = true
      assert.equal(await early, false)
    })

    test('silence: the message lives and nobody is told', async (t) => {
      const { sandbox, receiver, send, magic } = await start(t, provider)
      await send(magic('silent'))
      await send(provider === 'twilio' || provider === 'meta' ? '+56912345678' : 'ana@example.com', 'msg_2')
      await receiver.waitFor(
        1,
        ({ body, url }) =>
          url.includes('msg_2') || body.includes('msg_2') || body.includes('ana@example.com'),
      )
      const [silent] = sandbox.world.messages.values()
      assert.ok(!receiver.received.some(({ body }) => body.includes(silent!.id)))
    })

    test('credentials are refused in the provider’s own words', async (t) => {
      const { send, magic } = await start(t, provider)
      const { status, body } = await send(magic('unauthorized'))
      assert.ok(status === 401 || status === 403)
      assert.doesNotThrow(() => JSON.parse(body))
    })

    test('a rule of the control API plays so many times on whom it names', async (t) => {
      const { sandbox, send, effects, magic } = await start(t, provider)
      const to = magic('silent')
      await sandbox.control('POST', '/faults', { provider, fault: 'server_error', match: { to }, times: 1 })
      assert.equal((await send(to)).status, 503)
      assert.ok((await send(to)).status < 300)
      assert.equal(await effects(), 1)
      await sandbox.control('POST', '/faults', {
        provider,
        fault: 'server_error',
        match: { reference: 'msg_9' },
      })
      assert.ok((await send(to)).status < 300)
      assert.equal((await send(to, 'msg_9')).status, 503)
      await sandbox.control('DELETE', '/faults')
      assert.ok((await send(to, 'msg_9')).status < 300)
    })
  })
}

test('failures by callback carry the code of their kind', async (t) => {
  const twilio = await start(t, 'twilio')
  await twilio.send(magicPhone('failed'))
  const sms = await twilio.receiver.waitFor(2)
  assert.deepEqual(
    sms.map((one) => formOf(one)['MessageStatus']),
    ['sent', 'undelivered'],
  )
  assert.equal(formOf(sms[1]!)['ErrorCode'], '30003')
  const meta = await start(t, 'meta')
  await meta.send(magicPhone('failed'))
  const [status] = await meta.receiver.waitFor(1)
  assert.match(status!.body.toString(), /"code":131026/)
})

test('read without delivered skips delivered', async (t) => {
  const { receiver, send } = await start(t, 'meta')
  await send(magicPhone('read_without_delivered'))
  await receiver.waitFor(2)
  assert.deepEqual(statesOf('meta', receiver), ['sent', 'read'])
})

test('opted out, window closed and pair limit are refused in Meta’s codes', async (t) => {
  const { send } = await start(t, 'meta')
  const codeOf = async (fault: FaultName) => {
    const { error } = JSON.parse((await send(magicPhone(fault))).body) as { error: { code: number } }
    return error.code
  }
  assert.deepEqual(
    [await codeOf('opted_out'), await codeOf('window_closed'), await codeOf('pair_limit')],
    [131050, 131047, 131056],
  )
})

test('a rule can ask for any code of a provider', async (t) => {
  const { sandbox, send } = await start(t, 'twilio')
  await sandbox.control('POST', '/faults', { provider: 'twilio', fault: 'error', code: 21408, times: 1 })
  assert.equal((JSON.parse((await send('+56912345678')).body) as { code: number }).code, 21408)
})

test('look-ups have faults of their own', async (t) => {
  const { sandbox, send } = await start(t, 'resend')
  await sandbox.control('POST', '/faults', { provider: 'resend', fault: 'transient', on: 'lookup', times: 1 })
  assert.equal((await send('ana@example.com')).status, 200)
  const [message] = sandbox.world.messages.values()
  const look = () =>
    fetch(`${sandbox.providerUrls.resend}/emails/${message!.id}`, {
      headers: { authorization: 'Bearer re_key' },
    })
  assert.equal((await look()).status, 500)
  assert.equal((await look()).status, 200)
})

test('every magic phone number is a valid one', () => {
  for (const { recipient } of magicRecipients)
    if (recipient.startsWith('+')) assert.ok(isValidPhoneNumber(recipient), recipient)
})

test('a rate set in the settings is kept per account and second', async (t) => {
  const { sandbox, send } = await start(t, 'resend')
  await sandbox.control('PATCH', '/settings', { rate_limits: { resend: 2 } })
  const answers = await Promise.all(
    Array.from({ length: 9 }, (_, index) => send('ana@example.com', `msg_${index}`)),
  )
  const refused = answers.filter(({ status }) => status === 429)
  assert.ok(refused.length >= 5)
  assert.ok(refused.every(({ headers }) => headers.get('retry-after') === '1'))
})
