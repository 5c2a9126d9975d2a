import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startTestServer, type TestServer, type TestServerOptions } from '../testing/server.ts'
import type { Message, MessageStory } from './schema.ts'

export const tenantId = 'tableflow_123'
const twilio = { accountSid: 'AC_tableflow_twilio_sid', authToken: 'tableflow_twilio_token' }

export interface MessagingServer extends TestServer {
  send(channel: string, body: Record<string, unknown>, headers?: Record<string, string>): Promise<Message>
  refuse(channel: string, body: Record<string, unknown>): Promise<{ status: number; code: string }>
  story(id: string): Promise<MessageStory>
  /** Waits until a message is as wanted; rejects after the deadline with how it is. */
  until(id: string, fits: (story: MessageStory) => boolean, deadlineMs?: number): Promise<MessageStory>
  /** Talks to the sandbox's control API. */
  control(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>
  customerWrites(text: string, from?: string): Promise<void>
}

interface Test {
  after(work: () => Promise<void>): void
}

/** A tenant with WhatsApp and SMS at Twilio and e-mail at Resend, all simulated. */
export async function startMessagingServer(
  test: Test,
  options: TestServerOptions = {},
): Promise<MessagingServer> {
  const started = await startTestServer(test, options)
  const { api } = started
  const hooks = `${started.server.context.config.publicUrl}/messaging/webhook`
  const control = controlOf(started.sandbox.url)
  await connectProviders(started, control, hooks)
  const story = async (id: string) => (await api.call<MessageStory>('GET', `/messaging/messages/${id}`)).body
  const post = <Body>(channel: string, body: Record<string, unknown>, headers?: Record<string, string>) =>
    api.call<Body>('POST', `/messaging/send/${channel}`, { tenant_id: tenantId, ...body }, headers)
  return {
    ...started,
    control,
    story,
    send: async (channel, body, headers) => {
      const answer = await post<Message>(channel, body, headers)
      assert.equal(answer.status, 202, JSON.stringify(answer.body))
      return answer.body
    },
    refuse: async (channel, body) => {
      const answer = await post<{ code: string }>(channel, body)
      return { status: answer.status, code: answer.body.code }
    },
    until: (id, fits, deadlineMs = 15_000) => untilMessage(() => story(id), fits, deadlineMs),
    customerWrites: async (text, from = '+56988888888') => {
      await control('POST', 'inbound/twilio', {
        from: `whatsapp:${from}`,
        to: 'whatsapp:+14155238886',
        account: twilio.accountSid,
        webhook_url: `${hooks}/whatsapp?tenant_id=${tenantId}&provider=twilio`,
        text,
      })
    },
  }
}

function controlOf(sandboxUrl: string): MessagingServer['control'] {
  return async (method, path, body) => {
    const response = await fetch(`${sandboxUrl}/sandbox/${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    assert.ok(response.ok, `sandbox ${method} ${path}: ${response.status}`)
    return (await response.json()) as Record<string, unknown>
  }
}

async function connectProviders(
  { api }: TestServer,
  control: MessagingServer['control'],
  hooks: string,
): Promise<void> {
  await api.call('POST', '/products', { id: 'tableflow', name: 'TableFlow' })
  await api.call('POST', '/tenants', { id: tenantId, product_id: 'tableflow', name: 'Restaurant' })
  const account = await control('PUT', 'accounts/resend/re_tableflow_resend_key', {
    webhook_url: `${hooks}/email?tenant_id=${tenantId}&provider=resend`,
  })
  await control('PUT', `accounts/twilio/${twilio.accountSid}`, { token: twilio.authToken })
  const configure = (channel: string, provider: string, credentials: unknown) =>
    api.call('POST', '/messaging/config/provider', {
      tenantId,
      channel,
      provider,
      credentials,
      isActive: true,
    })
  await configure('whatsapp', 'twilio', { ...twilio, whatsappNumber: 'whatsapp:+14155238886' })
  await configure('sms', 'twilio', { ...twilio, phoneNumber: '+15005550006' })
  await configure('email', 'resend', {
    apiKey: 're_tableflow_resend_key',
    fromEmail: 'noreply@tableflow.com',
    webhookSecret: account.signing_secret,
  })
}

async function untilMessage(
  read: () => Promise<MessageStory>,
  fits: (story: MessageStory) => boolean,
  deadlineMs: number,
): Promise<MessageStory> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    const current = await read()
    if (fits(current)) return current
    assert.ok(
      performance.now() < deadline,
      `still ${current.status}: ${JSON.stringify({ ...current, events: [] })}`,
    )
    await sleep(25)
  }
}
