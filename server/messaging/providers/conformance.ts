import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import type { Outcome, ProviderContext, RawWebhook } from '#connections'
import { createOutbound } from '#core/outbound.ts'
import { type FaultName, magicRecipients } from '../../../sandbox/faults.ts'
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts'
import type { ProviderId } from '../../../sandbox/world.ts'
import type { Channel, InboundMessage, MediaLink, MessagingProvider, ProviderReport } from './provider.ts'
import type { SendCommand, Sent, StatusReport, TemplateReference } from './provider.ts'
import { type RecordedRequest, type Recorder, startRecorder } from '../../testing/recorder.ts'

const receivedAt = new Date('2026-11-22T12:00:00Z')

export interface ProviderFixture {
  provider: MessagingProvider
  channel: Channel
  /** What the sandbox is told about the account, beside its webhook. */
  account: { name: string; input: Record<string, unknown> }
  /** What a tenant enters for that account; `made` is the account as the sandbox shows it. */
  credentials(made: Record<string, string>): Record<string, unknown>
  /** Laid over the credentials they are wrong at the provider. */
  wrong: Record<string, unknown>
  /** Laid over the credentials they are another account's, which a genuine webhook is not for. */
  stranger: Record<string, unknown>
  /** Laid over the credentials webhooks can't be verified; left out where that can't be. */
  withoutSecret?: Record<string, unknown>
  template: TemplateReference
  media?: MediaLink
  /** What a customer writes, in the sandbox's words, and what must be understood. */
  inbound: { input: Record<string, unknown>; from: string; to: string; text?: string }
  /** An error body of the provider's own that repeats a text. */
  echo(text: string): string
  /** Whether a genuine webhook arriving under another URL is forged. */
  signsUrl: boolean
}

const tenantId = 'tableflow_123'
const shortMs = 400
const patientMs = 10_000

/** What every messaging provider promises, tried against its simulator and against a broken world. */
export function testMessagingProvider(fixture: ProviderFixture): void {
  const { provider, channel } = fixture
  const outbound = createOutbound({ allowPrivateAddresses: true })
  const outcomes: unknown[] = []
  let sandbox: Sandbox
  let receiver: Recorder
  let credentials: Record<string, unknown>
  let count = 0

  before(async () => {
    receiver = await startRecorder(() => ({ status: 200 }))
    sandbox = await startSandbox({ port: 0, callbackDelayMs: 5 })
    await control('PATCH', 'settings', { window: 'off' })
    const { name, input } = fixture.account
    const made = await control('PUT', `accounts/${provider.id}/${name}`, {
      ...input,
      webhook_url: webhookUrl(),
    })
    credentials = provider.credentials.parse(
      fixture.credentials(made as Record<string, string>),
    ) as typeof credentials
  })

  after(async () => {
    await sandbox.close()
    await receiver.close()
    await outbound.close()
  })

  async function control(method: string, path: string, body: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(`${sandbox.url}/sandbox/${path}`, { method, body: JSON.stringify(body) })
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`)
    return (await response.json()) as Record<string, unknown>
  }

  function webhookUrl(): string {
    return `${receiver.url}/messaging/webhook/${channel}?tenant_id=${tenantId}&provider=${provider.id}`
  }

  function createContext(changes: Partial<ProviderContext<unknown>> = {}): ProviderContext<unknown> {
    return {
      credentials,
      baseUrl: sandbox.providerUrls[provider.id as ProviderId],
      webhookUrl: webhookUrl(),
      outbound,
      timeoutMs: patientMs,
      now: () => new Date(),
      ...changes,
    }
  }

  function createCommand(changes: Partial<SendCommand> = {}): SendCommand {
    count += 1
    const isMail = channel === 'email'
    return {
      messageId: `msg_${provider.id}_${count}`,
      tenantId,
      channel,
      to: isMail ? 'ana@example.org' : '+56911112222',
      text: 'Hola Ana & compañía 👋',
      ...(isMail && { subject: 'Pedido #1', html: '<p>Hola</p>' }),
      media: [],
      attachments: [],
      ...changes,
    }
  }

  async function send(command: SendCommand, context = createContext()): Promise<Outcome<Sent>> {
    const outcome = await provider.send(command, context)
    outcomes.push(outcome)
    return outcome
  }

  async function sendTo(fault: FaultName, context = createContext()) {
    const to = findRecipient(fault, channel)
    const command = createCommand({ to })
    return { command, outcome: await send(command, context) }
  }

  function listEffects({ messageId }: SendCommand) {
    return [...sandbox.world.messages.values()].filter(({ reference }) => reference === messageId)
  }

  /** The first callback about a message that holds a report that fits. */
  async function findReport<Report extends ProviderReport>(
    fits: (report: ProviderReport) => report is Report,
  ): Promise<{ webhook: RecordedRequest; report: Report }> {
    const webhook = await receiver.find((request) => provider.parse(request, receivedAt).some(fits))
    const report = provider.parse(webhook, receivedAt).find(fits)
    assert.ok(report)
    return { webhook, report }
  }

  function isStatusOf(command: SendCommand, status: string) {
    return (report: ProviderReport): report is StatusReport =>
      report.type === 'status' && report.messageId === command.messageId && report.status === status
  }

  async function getGenuine(): Promise<RecordedRequest> {
    const command = createCommand()
    await send(command)
    return (await findReport(isStatusOf(command, 'delivered'))).webhook
  }

  test('a message is accepted and its callbacks are verified, ours, and tell its life', async () => {
    const command = createCommand()
    const outcome = await send(command)
    assert.equal(outcome.outcome, 'done')
    for (const status of ['sent', 'delivered'] as const) {
      const { webhook, report } = await findReport(isStatusOf(command, status))
      assert.deepEqual(provider.verify(webhook, credentials, new Date()), { ok: true })
      assert.ok(provider.owns(webhook, credentials, tenantId))
      assert.ok(!Number.isNaN(report.at.getTime()))
      if (outcome.outcome === 'done' && report.providerMessageId) {
        assert.equal(report.providerMessageId, outcome.providerMessageId)
      }
    }
    assert.equal(listEffects(command).length, 1)
  })

  test('the text arrives as it was given', async () => {
    const command = createCommand()
    await send(command)
    assert.equal(listEffects(command)[0]?.text, command.text)
  })

  test('a template is carried by its name and with its variables, or refused, as the capabilities say', async () => {
    const command = createCommand({ template: fixture.template })
    assert.equal((await send(command)).outcome, provider.capabilities.templates ? 'done' : 'refused')
    if (!provider.capabilities.templates) return
    const details = JSON.stringify(listEffects(command)[0]?.details)
    assert.ok(details.includes(fixture.template.name))
    for (const { value } of fixture.template.variables) assert.ok(details.includes(value))
  })

  test('media are carried or refused, as the capabilities say', async () => {
    const media = fixture.media ?? { kind: 'image', url: 'https://example.com/a.png' }
    const command = createCommand({ media: [media] })
    const outcome = await send(command)
    assert.equal(outcome.outcome, provider.capabilities.media ? 'done' : 'refused')
    if (!provider.capabilities.media) return
    assert.ok(JSON.stringify(listEffects(command)[0]?.details).includes(media.url))
  })

  test('attachments are carried or refused, as the capabilities say', async () => {
    const attachment = {
      filename: 'boleta nº1.txt',
      contentType: 'text/plain',
      contentBase64: Buffer.from('hola').toString('base64'),
    }
    const command = createCommand({ attachments: [attachment] })
    const outcome = await send(command)
    assert.equal(outcome.outcome, provider.capabilities.attachments ? 'done' : 'refused')
    if (!provider.capabilities.attachments) return
    assert.ok(JSON.stringify(listEffects(command)[0]?.details).includes(attachment.filename))
  })

  test('what the channel can not carry is refused before any call', async (t) => {
    const recorder = await startRecorder(() => ({ status: 500 }))
    t.after(() => recorder.close())
    const context = createContext({ baseUrl: recorder.url })
    const impossible: Array<Partial<SendCommand>> = [
      { text: '', subject: '', html: '' },
      { channel: channel === 'email' ? 'sms' : 'email' },
      { template: { name: '', variables: [] } },
    ]
    const limit = provider.capabilities.maxTextLength[channel]
    if (limit !== undefined) impossible.push({ text: 'x'.repeat(limit + 1) })
    if (channel === 'email') impossible.push({ to: 'a@b.cl, c@d.cl' }, { from: 'A <a@b.cl>, c@d.cl' })
    for (const changes of impossible) {
      const outcome = await send(createCommand(changes), context)
      assert.equal(outcome.outcome, 'refused', JSON.stringify(changes))
    }
    assert.equal(recorder.requests.length, 0)
  })

  test('too many requests: refused, and tried again when the provider says', async () => {
    const told = (await sendTo('rate_limited')).outcome
    assert.equal(told.outcome, 'refused')
    assert.equal(told.outcome === 'refused' && told.error.kind, 'rate_limited')
    const retry = told.outcome === 'refused' ? told.error.retry : undefined
    assert.ok(typeof retry === 'object' && retry.afterMs >= 0 && retry.afterMs <= 1_000)
    const bare = (await sendTo('rate_limited_bare')).outcome
    assert.equal(bare.outcome === 'refused' && bare.error.retry, 'backoff')
  })

  test('credentials refused: an error of kind auth that is never tried again', async () => {
    const { outcome, command } = await sendTo('unauthorized')
    assert.equal(outcome.outcome, 'refused')
    assert.deepEqual(outcome.outcome === 'refused' && [outcome.error.kind, outcome.error.retry], [
      'auth',
      'never',
    ])
    assert.equal(listEffects(command).length, 0)
  })

  for (const fault of ['server_error', 'transient', 'server_error_after'] as const) {
    test(`a 5xx (${fault}) leaves the outcome unknown and is not failed over`, async () => {
      const { command, outcome } = await sendTo(fault)
      assert.equal(outcome.outcome, 'unknown')
      assert.equal(outcome.outcome === 'unknown' && outcome.error.failover, false)
      assert.equal(listEffects(command).length, fault.endsWith('_after') ? 1 : 0)
    })
  }

  for (const fault of ['hang', 'reset', 'hang_after', 'reset_after'] as const) {
    test(`a lost answer (${fault}) leaves the outcome unknown`, async () => {
      const { command, outcome } = await sendTo(fault, createContext({ timeoutMs: shortMs }))
      assert.equal(outcome.outcome, 'unknown')
      assert.equal(listEffects(command).length, fault.endsWith('_after') ? 1 : 0)
      assert.equal(
        outcome.outcome === 'unknown' && outcome.error.retry,
        provider.capabilities.idempotency ? 'backoff' : 'never',
      )
    })
  }

  test('an unknown send that took effect is healed by a callback that names our message', async () => {
    const { command } = await sendTo('reset_after')
    const { report } = await findReport(isStatusOf(command, 'delivered'))
    assert.ok(report.providerMessageId)
    assert.equal(listEffects(command).length, 1)
  })

  test('a refused connection is certainly no effect and may fail over', async () => {
    const recorder = await startRecorder(() => ({ status: 200 }))
    await recorder.close()
    const outcome = await send(createCommand(), createContext({ baseUrl: recorder.url }))
    assert.equal(outcome.outcome, 'refused')
    const error = outcome.outcome === 'refused' ? outcome.error : undefined
    assert.deepEqual([error?.kind, error?.retry, error?.failover], ['transient', 'backoff', true])
  })

  test('a 2xx that can not be read leaves the outcome unknown', async (t) => {
    let body = ''
    const recorder = await startRecorder(() => ({ status: 200, body }))
    t.after(() => recorder.close())
    for (body of ['', '<html>', '{}', '[]', 'null', '{"id":7}']) {
      const outcome = await send(createCommand(), createContext({ baseUrl: recorder.url }))
      assert.equal(outcome.outcome, 'unknown', body)
    }
  })

  test('a repeated send under the same key has one effect, where the provider has keys', async () => {
    if (!provider.capabilities.idempotency) return
    const { command, outcome } = await sendTo('reset_after')
    assert.equal(outcome.outcome, 'unknown')
    const again = await send(command)
    assert.equal(again.outcome, 'done')
    assert.equal(listEffects(command).length, 1)
  })

  test('a look-up reports the state of a message, and nothing about an unknown one', async () => {
    if (!provider.lookup) return
    const command = createCommand()
    const outcome = await send(command)
    assert.ok(outcome.outcome === 'done')
    const { report } = await findReport(isStatusOf(command, 'delivered'))
    const found = await provider.lookup(outcome.providerMessageId, createContext())
    assert.ok(found && ['delivered', 'read'].includes(found.status))
    assert.equal(found.providerMessageId, report.providerMessageId)
    assert.equal(await provider.lookup('nothing_like_it', createContext()), undefined)
  })

  test('a duplicated callback has the same key', async () => {
    const { command } = await sendTo('duplicate')
    const listReports = () =>
      receiver.requests
        .flatMap((request) => provider.parse(request, receivedAt))
        .filter(isStatusOf(command, 'delivered'))
    await receiver.find(() => listReports().length > 1)
    assert.equal(new Set(listReports().map(({ key }) => key)).size, 1)
  })

  test('a customer’s message is understood', async () => {
    const { input, from, to, text } = fixture.inbound
    await control('POST', `inbound/${provider.id}`, input)
    const isTheirs = (found: ProviderReport): found is InboundMessage =>
      found.type === 'inbound' && found.from === from
    const { webhook, report } = await findReport(isTheirs)
    assert.deepEqual(provider.verify(webhook, credentials, new Date()), { ok: true })
    assert.ok(provider.owns(webhook, credentials, tenantId))
    const complete = report.fetchContent ? await provider.fetchInbound?.(report, createContext()) : report
    assert.deepEqual([complete?.to, complete?.text, complete?.automated], [to, text, false])
  })

  test('a report happened when the webhook says or when it was received, whatever the clock says', async (t) => {
    const genuine = await getGenuine()
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const reports = provider.parse(genuine, receivedAt)
    assert.ok(reports.length > 0)
    for (const { at } of reports) assert.notEqual(at.getUTCFullYear(), 1970)
  })

  test('a changed, unsigned, strange or misdirected webhook is refused with what failed', async () => {
    const genuine = await getGenuine()
    const verify = (changes: Partial<RawWebhook>, account = credentials) => {
      const verification = provider.verify({ ...genuine, ...changes }, account, new Date())
      return verification.ok ? 'ok' : verification.check
    }
    assert.equal(verify({}), 'ok')
    assert.notEqual(verify({ body: Buffer.concat([genuine.body, Buffer.from(' ')]) }), 'ok')
    assert.equal(verify({ headers: {} }), 'header_missing')
    const publicUrl = genuine.publicUrl.replace(tenantId, 'somebody_else')
    assert.equal(verify({ publicUrl }), fixture.signsUrl ? 'signature' : 'ok')
    if (fixture.withoutSecret) {
      assert.equal(verify({}, { ...credentials, ...fixture.withoutSecret }), 'secret_missing')
    }
  })

  test('a genuine webhook of another account or tenant is not ours', async () => {
    const genuine = await getGenuine()
    const isOurs = provider.owns(genuine, { ...credentials, ...fixture.stranger }, 'somebody_else')
    assert.equal(isOurs, false)
  })

  test('garbage never makes verify, owns, parse or handshake throw', () => {
    const noise = fc.record({
      body: fc.oneof(
        fc.uint8Array(),
        fc.json().map((json) => Buffer.from(json)),
        fc.string().map((text) => Buffer.from(text)),
      ),
      headers: fc.dictionary(fc.constantFrom(...signatureHeaders), fc.string()),
      publicUrl: fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true })),
      query: fc.string(),
    })
    fc.assert(
      fc.property(noise, ({ body, headers, publicUrl, query }) => {
        const webhook = {
          method: 'POST',
          publicUrl,
          query: new URLSearchParams(query),
          headers,
          body: Buffer.from(body),
        }
        assert.equal(provider.verify(webhook, credentials, new Date()).ok, false)
        provider.owns(webhook, credentials, tenantId)
        provider.handshake?.(webhook, credentials)
        assert.ok(Array.isArray(provider.parse(webhook, receivedAt)))
      }),
      { numRuns: 100 },
    )
  })

  test('the check says in words whether the credentials work', async () => {
    const good = await provider.check(createContext())
    assert.equal(good.ok, true, good.notes.join(' '))
    const bad = await provider.check(createContext({ credentials: { ...credentials, ...fixture.wrong } }))
    assert.equal(bad.ok, false)
    const gone = await provider.check(createContext({ baseUrl: 'http://127.0.0.1:1' }))
    assert.equal(gone.ok, false)
    for (const { notes } of [good, bad, gone])
      assert.ok(notes.length > 0 && notes.every((note) => note.length > 20))
    outcomes.push(good, bad, gone)
  })

  test('a check without the webhook’s secret still passes and says what is missing', async () => {
    if (!fixture.withoutSecret) return
    const lacking = { ...credentials, ...fixture.withoutSecret }
    const { ok, notes } = await provider.check(createContext({ credentials: lacking }))
    assert.equal(ok, true)
    assert.match(notes.join(' '), /Webhooks are refused until/)
  })

  test('no credential is in any outcome or note, even when the provider repeats it', async (t) => {
    const secrets = Object.values(credentials).filter((value) => typeof value === 'string')
    let status = 400
    const recorder = await startRecorder((request) => ({
      status,
      headers: { 'content-type': 'application/json' },
      body: fixture.echo([request.headers.authorization, ...secrets].join(' ')),
    }))
    t.after(() => recorder.close())
    const context = createContext({ baseUrl: recorder.url })
    for (status of [400, 401, 429, 500]) {
      await send(createCommand(), context)
      outcomes.push(await provider.check(context))
    }
    const shown = JSON.stringify(outcomes)
    for (const secret of secrets.filter((value) => isSecret(value))) {
      assert.ok(!shown.includes(secret), `an outcome shows ${secret}`)
      assert.ok(!shown.includes(Buffer.from(secret).toString('base64').slice(0, -4)))
    }
  })
}

/** The tests' secrets all say so. */
function isSecret(value: string): boolean {
  return value.includes('secret')
}

const signatureHeaders = [
  'content-type',
  'x-twilio-signature',
  'x-hub-signature-256',
  'x-twilio-email-event-webhook-signature',
  'x-twilio-email-event-webhook-timestamp',
  'svix-id',
  'svix-timestamp',
  'svix-signature',
]

function findRecipient(fault: FaultName, channel: Channel): string {
  const found = magicRecipients.find((magic) => magic.fault === fault && magic.channels.includes(channel))
  assert.ok(found, `the sandbox plays no ${fault} on ${channel}`)
  return found.recipient.replace('@…', '@example.org')
}
