import { type BadRequest, remove, spoil } from './bad-request.ts'

const long = (length: number) => 'a'.repeat(length)
const config = (channel: string, provider: string, credentials: unknown) => ({
  path: '/messaging/config/provider',
  body: { tenantId: 'roe_789', channel, provider, credentials } as Record<string, unknown>,
})
const twilio = { accountSid: 'AC_x', authToken: 'fake_token_1', phoneNumber: '+15005550006' }
const resend = { apiKey: 're_fake_key_1', fromEmail: 'a@email.com' }
const sendgrid = { apiKey: 'SG.fake_key_1', fromEmail: 'a@email.com' }
const meta = { accessToken: 'fake_access_1', phoneNumberId: '1', verifyToken: 'fake_verify_1' }

function credentialFaults(
  channel: string,
  provider: string,
  good: Record<string, unknown>,
  faults: ReadonlyArray<[name: string, change: Record<string, unknown>, field: string]>,
): BadRequest[] {
  return faults.map(([name, change, field]) => {
    const credentials = Object.fromEntries(
      Object.entries({ ...good, ...change }).filter(([, value]) => value !== remove),
    )
    const { path, body } = config(channel, provider, credentials)
    return { name: `${provider}: ${name}`, method: 'POST', path, body, field: `credentials.${field}` }
  })
}

const badConfigs = [
  ...spoil(config('sms', 'twilio', twilio), [
    ['tenantId is missing', { tenantId: remove }, 'tenantId'],
    ['tenant_id instead of tenantId', { tenantId: remove, tenant_id: 'roe_789' }, 'tenantId'],
    ['a channel that is none', { channel: 'fax' }, 'channel'],
    ['a provider that is none', { provider: 'pigeon' }, 'provider'],
    ['a provider that is a number', { provider: 5 }, 'provider'],
    ['a provider of another channel', { channel: 'email' }, 'provider'],
    ['credentials are missing', { credentials: remove }, 'credentials'],
    ['credentials are a text', { credentials: 'secret' }, 'credentials'],
    ['credentials are a list', { credentials: ['secret'] }, 'credentials'],
    ['no credentials at all: the first of many', { credentials: {} }, 'credentials.accountSid'],
    ['no credentials at all: the second of many', { credentials: {} }, 'credentials.authToken'],
    ['isActive is a text', { isActive: 'yes' }, 'isActive'],
    ['priority is negative', { priority: -1 }, 'priority'],
    ['priority is a fraction', { priority: 1.5 }, 'priority'],
    ['priority is too large', { priority: 1001 }, 'priority'],
    ['weight is a text', { weight: 'heavy' }, 'weight'],
    ['an unknown field', { region: 'cl' }, 'region'],
  ]),
  ...credentialFaults('sms', 'twilio', twilio, [
    ['an account SID of another kind', { accountSid: 'SK123' }, 'accountSid'],
    ['an account SID with a path in it', { accountSid: 'AC/../Accounts' }, 'accountSid'],
    ['a token that is a number', { authToken: 123_456 }, 'authToken'],
    ['an empty token', { authToken: '' }, 'authToken'],
    ['a sender that is no number', { phoneNumber: '+call me maybe' }, 'phoneNumber'],
    ['no sender', { phoneNumber: remove }, 'phoneNumber'],
    ['an API key without its secret', { apiKeySid: 'SK1' }, 'apiKeySecret'],
    ['an unknown credential', { password: 'fake_password' }, 'password'],
  ]),
  ...credentialFaults('email', 'resend', resend, [
    ['a key of another provider', { apiKey: 'SG.fake_key' }, 'apiKey'],
    ['a key with a line break', { apiKey: 're_fake\nkey' }, 'apiKey'],
    ['a sender that is no address', { fromEmail: 'tableflow' }, 'fromEmail'],
    ['no sender', { fromEmail: remove }, 'fromEmail'],
    ['a webhook secret of another kind', { webhookSecret: 'fake_secret' }, 'webhookSecret'],
  ]),
  ...credentialFaults('email', 'sendgrid', sendgrid, [
    ['a key of another provider', { apiKey: 're_fake_key' }, 'apiKey'],
    ['a sender with a header smuggled in', { fromEmail: 'a@email.com\nBcc: b@email.com' }, 'fromEmail'],
    ['a public key that is none', { webhookPublicKey: 'bm90IGEga2V5' }, 'webhookPublicKey'],
  ]),
  ...credentialFaults('whatsapp', 'meta', meta, [
    ['a token with a blank', { accessToken: 'fake token' }, 'accessToken'],
    ['a phone number id with a path in it', { phoneNumberId: '../me' }, 'phoneNumberId'],
    ['no verify token', { verifyToken: remove }, 'verifyToken'],
    ['a version that is none', { graphVersion: 'latest' }, 'graphVersion'],
  ]),
]

const none = 'con_01aaaaaaaaaaaaaaaaaaaaaaaa'
const badChanges: BadRequest[] = [
  ...spoil({ method: 'PATCH', path: `/messaging/config/roe_789/${none}`, body: {} }, [
    ['a change of isActive to a text', { isActive: 'no' }, 'isActive'],
    ['a change of weight to null', { weight: null }, 'weight'],
    ['a change of credentials by PATCH', { credentials: {} }, 'credentials'],
  ]),
  ...(['PATCH', 'DELETE'] as const).map((method) => ({
    name: `${method} of a provider that is not there`,
    method,
    path: `/messaging/config/roe_789/${none}`,
    ...(method === 'PATCH' && { body: {} }),
    status: 404,
    code: 'connection_not_found',
  })),
  {
    name: 'checking a provider that is not there',
    method: 'POST',
    path: `/messaging/config/roe_789/${none}/check`,
    status: 404,
    code: 'connection_not_found',
  },
]

const template = {
  method: 'PUT',
  path: '/messaging/templates/roe_789/pedido/es',
  body: { text: 'Hola {{nombre}}' },
}
const badTemplates: BadRequest[] = [
  ...spoil(template, [
    ['neither text nor HTML', { text: remove }, 'text'],
    ['text is a number', { text: 5 }, 'text'],
    ['subject of 999 characters', { subject: long(999) }, 'subject'],
    ['variables are a text', { variables: 'nombre' }, 'variables'],
    ['a variable that is no name', { variables: ['1 nombre'] }, 'variables.0'],
    ['references are a list', { references: ['HX1'] }, 'references'],
    ['a reference without a name', { references: { meta: { language: 'es' } } }, 'references.meta.name'],
    ['default is a text', { default: 'yes' }, 'default'],
    ['an unknown field', { body: 'Hola' }, 'body'],
  ]),
  { ...template, name: 'a name in capitals', path: '/messaging/templates/roe_789/Pedido/es', field: 'name' },
  {
    ...template,
    name: 'a name of 101 letters',
    path: `/messaging/templates/roe_789/${long(101)}/es`,
    field: 'name',
  },
  {
    ...template,
    name: 'a locale that is none',
    path: '/messaging/templates/roe_789/pedido/espanol_',
    field: 'locale',
  },
  {
    name: 'a preview of a template nobody saved',
    method: 'POST',
    path: '/messaging/templates/roe_789/nunca/preview',
    body: {},
    field: 'template.name',
  },
  {
    name: 'reading a template nobody saved',
    method: 'GET',
    path: '/messaging/templates/roe_789/nunca',
    status: 404,
    code: 'template_not_found',
  },
  {
    name: 'deleting a locale nobody saved',
    method: 'DELETE',
    path: '/messaging/templates/roe_789/pedido/fr',
    status: 404,
    code: 'template_not_found',
  },
]

const hours = { timezone: 'America/Santiago', from: '09:00', to: '18:00' }
const badReplies: BadRequest[] = [
  ...spoil(
    {
      method: 'PUT',
      path: '/messaging/auto-replies/roe_789/hola',
      body: { channel: 'sms', keywords: ['hola'], body: 'Hola' },
    },
    [
      ['neither body nor template', { body: remove }, 'body'],
      ['both body and template', { template: 'pedido' }, 'body'],
      ['a channel that is none', { channel: 'fax' }, 'channel'],
      ['keywords are a text', { keywords: 'hola' }, 'keywords'],
      ['an empty keyword', { keywords: [''] }, 'keywords.0'],
      ['a time zone that is none', { hours: { ...hours, timezone: 'Mars/Olympus' } }, 'hours.timezone'],
      ['an hour that is none', { hours: { ...hours, from: '25:00' } }, 'hours.from'],
      ['a day that is none', { hours: { ...hours, days: ['lunes'] } }, 'hours.days.0'],
      ['a cap of none an hour', { max_per_hour: 0 }, 'max_per_hour'],
      ['a cap of 61 an hour', { max_per_hour: 61 }, 'max_per_hour'],
      ['a negative priority', { priority: -1 }, 'priority'],
      ['active is a number', { active: 1 }, 'active'],
    ],
  ),
  {
    name: 'deleting a reply nobody saved',
    method: 'DELETE',
    path: '/messaging/auto-replies/roe_789/nunca',
    status: 404,
    code: 'auto_reply_not_found',
  },
]

const badSuppressions: BadRequest[] = [
  ...spoil(
    { path: '/messaging/suppressions/roe_789', body: { channel: 'email', address: 'ana@email.com' } },
    [
      ['suppressing on a channel that is none', { channel: 'fax' }, 'channel'],
      ['suppressing nobody', { address: remove }, 'address'],
      ['suppressing what is no address', { address: 'ana' }, 'address'],
      ['suppressing an address as a phone', { channel: 'sms' }, 'address'],
      ['suppressing for a reason of one’s own', { reason: 'rude' }, 'reason'],
    ],
  ),
  {
    name: 'lifting a suppression that is not there',
    method: 'DELETE',
    path: '/messaging/suppressions/roe_789/sup_01aaaaaaaaaaaaaaaaaaaaaaaa',
    status: 404,
    code: 'suppression_not_found',
  },
]

export const settingsRequests: BadRequest[] = [
  ...badConfigs,
  ...badChanges,
  ...badTemplates,
  ...badReplies,
  ...badSuppressions,
]
