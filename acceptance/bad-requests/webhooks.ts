import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { BadRequest } from './bad-request.ts'

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const strangerKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const secrets = {
  twilio: 'fake_hooks_auth_token',
  meta: 'fake_hooks_app_secret',
  resend: `whsec_${Buffer.from('fake hooks signing secret').toString('base64')}`,
}

/** A tenant for each provider: of one tenant only some refused webhooks a minute are kept. */
export const hooksTenants = ['hooks_twilio', 'hooks_meta', 'hooks_sendgrid', 'hooks_resend']
const tenantFor = (provider: string) => `hooks_${provider}`
/** Their connections, with secrets that are known here. */
export const hooksConfigs = [
  {
    channel: 'sms',
    provider: 'twilio',
    credentials: { accountSid: 'AC_hooks', authToken: secrets.twilio, phoneNumber: '+15005550006' },
  },
  {
    channel: 'whatsapp',
    provider: 'meta',
    credentials: {
      accessToken: 'fake_hooks_access_token',
      phoneNumberId: 'hooks_number',
      verifyToken: 'fake_hooks_verify_token',
      appSecret: secrets.meta,
    },
  },
  {
    channel: 'email',
    provider: 'sendgrid',
    credentials: {
      apiKey: 'SG.fake_hooks_key',
      fromEmail: 'hooks@email.com',
      webhookPublicKey: keys.publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
    },
  },
  {
    channel: 'email',
    provider: 'resend',
    credentials: {
      apiKey: 're_fake_hooks_key',
      fromEmail: 'hooks@email.com',
      webhookSecret: secrets.resend,
    },
  },
]

interface Signed {
  body: string
  headers: Record<string, string>
}

/** A webhook as one of the providers makes it, about this account. */
interface Maker {
  provider: string
  channel: string
  contentType: string
  signatureHeader: string
  good: string
  /** The same, of another account or about another tenant. */
  foreign: string
  sign(body: string, url: string, options?: { stranger?: boolean; at?: string }): Record<string, string>
}

const seconds = (offset = 0) => String(Math.floor(Date.now() / 1000) + offset)
const twilioForm = (account: string) =>
  new URLSearchParams({
    AccountSid: account,
    MessageSid: 'SM1',
    MessageStatus: 'delivered',
    To: '+569',
  }).toString()
const metaBody = (number: string) =>
  JSON.stringify({
    object: 'whatsapp_business_account',
    entry: [
      {
        id: 'waba_1',
        changes: [
          {
            field: 'messages',
            value: {
              metadata: { phone_number_id: number },
              statuses: [{ id: 'wamid.1', status: 'delivered', timestamp: seconds() }],
            },
          },
        ],
      },
    ],
  })
const sendgridBody = (tenant: string) =>
  JSON.stringify([
    { event: 'delivered', sg_event_id: '1', timestamp: 1, email: 'a@email.com', tenant_id: tenant },
  ])
const resendBody = (tenant: string) =>
  JSON.stringify({
    type: 'email.delivered',
    created_at: '2026-01-01T00:00:00Z',
    data: { email_id: '1', tags: { tenant_id: tenant } },
  })

const makers: Maker[] = [
  {
    provider: 'twilio',
    channel: 'sms',
    contentType: 'application/x-www-form-urlencoded',
    signatureHeader: 'x-twilio-signature',
    good: twilioForm('AC_hooks'),
    foreign: twilioForm('AC_other'),
    sign: (body, url, { stranger } = {}) => {
      const form = [...new URLSearchParams(body)].toSorted(([a], [b]) => (a < b ? -1 : 1))
      const text = url + form.map(([name, value]) => name + value).join('')
      const key = stranger ? 'fake_other_token' : secrets.twilio
      return { 'x-twilio-signature': createHmac('sha1', key).update(text).digest('base64') }
    },
  },
  {
    provider: 'meta',
    channel: 'whatsapp',
    contentType: 'application/json',
    signatureHeader: 'x-hub-signature-256',
    good: metaBody('hooks_number'),
    foreign: metaBody('other_number'),
    sign: (body, _url, { stranger } = {}) => {
      const key = stranger ? 'fake_other_secret' : secrets.meta
      return { 'x-hub-signature-256': `sha256=${createHmac('sha256', key).update(body).digest('hex')}` }
    },
  },
  {
    provider: 'sendgrid',
    channel: 'email',
    contentType: 'application/json',
    signatureHeader: 'x-twilio-email-event-webhook-signature',
    good: sendgridBody(tenantFor('sendgrid')),
    foreign: sendgridBody('genda_456'),
    sign: (body, _url, { stranger, at = seconds() } = {}) => {
      const key: KeyObject = stranger ? strangerKeys.privateKey : keys.privateKey
      return {
        'x-twilio-email-event-webhook-timestamp': at,
        'x-twilio-email-event-webhook-signature': sign('sha256', Buffer.from(at + body), key).toString(
          'base64',
        ),
      }
    },
  },
  {
    provider: 'resend',
    channel: 'email',
    contentType: 'application/json',
    signatureHeader: 'svix-signature',
    good: resendBody(tenantFor('resend')),
    foreign: resendBody('genda_456'),
    sign: (body, _url, { stranger, at = seconds() } = {}) => {
      const key = stranger ? Buffer.from('fake other secret') : Buffer.from(secrets.resend.slice(6), 'base64')
      const mac = createHmac('sha256', key).update(`msg_1.${at}.${body}`).digest('base64')
      return { 'svix-id': 'msg_1', 'svix-timestamp': at, 'svix-signature': `v1,${mac}` }
    },
  },
]

const pathOf = ({ channel, provider }: Pick<Maker, 'channel' | 'provider'>, tenant = tenantFor(provider)) =>
  `/messaging/webhook/${channel}?tenant_id=${tenant}&provider=${provider}`

/** A webhook that must be taken, to see that the forged ones differ in nothing else. */
export function goodWebhooks(origin: string): Array<{ name: string; path: string } & Signed> {
  return makers.map((maker) => ({
    name: maker.provider,
    path: pathOf(maker),
    body: maker.good,
    headers: { 'content-type': maker.contentType, ...maker.sign(maker.good, origin + pathOf(maker)) },
  }))
}

/** What nobody but the provider of this very account may send. */
export function webhookRequests(origin: string): BadRequest[] {
  return [...makers.flatMap((maker) => forge(maker, origin)), ...unroutable(origin)]
}

function forge(maker: Maker, origin: string): BadRequest[] {
  const { provider, contentType, signatureHeader, good, foreign } = maker
  const path = pathOf(maker)
  const url = origin + path
  const right = maker.sign(good, url)
  const refuse = (
    name: string,
    field: string,
    signed: Signed,
    rest: Partial<BadRequest> = {},
  ): BadRequest => ({
    name: `${provider}: ${name}`,
    method: 'POST',
    path,
    as: 'nobody',
    body: signed.body,
    headers: { 'content-type': contentType, ...signed.headers },
    status: 403,
    code: 'webhook_refused',
    field,
    kept: true,
    ...rest,
  })
  const withSignature = (signature: string) => ({ ...right, [signatureHeader]: signature })
  const signature = right[signatureHeader] ?? ''
  const stale = ['sendgrid', 'resend'].includes(provider)
  const tooOld = seconds(provider === 'sendgrid' ? -26 * 3600 : -301)
  return [
    refuse('no signature', 'header_missing', { body: good, headers: {} }),
    refuse('an empty signature', 'header_missing', { body: good, headers: withSignature('') }),
    refuse('a signature that is a word', 'signature', { body: good, headers: withSignature('trust me') }),
    refuse('a signature of 7,000 letters', 'signature', {
      body: good,
      headers: withSignature('a'.repeat(7_000)),
    }),
    refuse('a signature cut off', 'signature', {
      body: good,
      headers: withSignature(signature.slice(0, -6)),
    }),
    refuse('signed with a stranger’s secret', 'signature', {
      body: good,
      headers: maker.sign(good, url, { stranger: true }),
    }),
    refuse('a changed body', 'signature', { body: good.replace('delivered', 'failed'), headers: right }),
    refuse('a truncated body', 'signature', { body: good.slice(0, -7), headers: right }),
    refuse('an empty body', 'signature', { body: '', headers: right }),
    refuse('rightly signed, of another account', 'owner', {
      body: foreign,
      headers: maker.sign(foreign, url),
    }),
    refuse('rightly signed, and no webhook at all', 'owner', { body: '5', headers: maker.sign('5', url) }),
    refuse('by GET', 'method', { body: '', headers: {} }, { method: 'GET', body: undefined }),
    ...(stale
      ? [
          refuse('replayed too late', 'timestamp', {
            body: good,
            headers: maker.sign(good, url, { at: tooOld }),
          }),
          refuse('signed in the future', 'timestamp', {
            body: good,
            headers: maker.sign(good, url, { at: seconds(900) }),
          }),
          refuse('signed at a word', 'timestamp', {
            body: good,
            headers: maker.sign(good, url, { at: 'today' }),
          }),
        ]
      : []),
  ]
}

function unroutable(origin: string): BadRequest[] {
  return makers.flatMap((maker) => {
    const { provider, good, contentType } = maker
    const to = (name: string, path: string, rest: Partial<BadRequest>): BadRequest => ({
      name: `${provider}: ${name}`,
      method: 'POST',
      path,
      as: 'nobody',
      body: good,
      headers: { 'content-type': contentType, ...maker.sign(good, origin + path) },
      ...rest,
    })
    const wrongChannel = maker.channel === 'email' ? 'sms' : 'email'
    const noTenant = { status: 404, code: 'tenant_not_found' }
    return [
      to('for a tenant that is not there', pathOf(maker, 'nobody_1'), noTenant),
      to('for no tenant', `/messaging/webhook/${maker.channel}?provider=${provider}`, noTenant),
      to('for a tenant without this provider', pathOf(maker, 'roe_790'), {
        status: 404,
        code: 'connection_missing',
      }),
      to('on a channel it does not have', pathOf({ provider, channel: wrongChannel }), { field: 'provider' }),
      to(
        'of a provider that is none',
        pathOf({ provider: 'pigeon', channel: maker.channel }, tenantFor(provider)),
        {
          field: 'provider',
        },
      ),
    ]
  })
}
