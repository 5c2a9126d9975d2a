import type { Sandbox } from '../harness.ts'

/** A tenant's way out over one provider. */
export interface Route {
  productId: string
  tenantId: string
  channel: 'sms' | 'whatsapp' | 'email'
  provider: 'twilio' | 'meta' | 'sendgrid' | 'resend'
  credentials: Record<string, string>
}

const sender = '+14155238886'

const tableflow = { productId: 'tableflow', tenantId: 'tableflow_123' }
const genda = { productId: 'genda', tenantId: 'genda_456' }
const roe = { productId: 'roe', tenantId: 'roe_789' }

export const tenants = [tableflow, genda, roe]

export const routes: readonly Route[] = [
  {
    ...tableflow,
    channel: 'whatsapp',
    provider: 'twilio',
    credentials: {
      accountSid: 'AC_tableflow_fake',
      authToken: 'fake_tableflow_token',
      whatsappNumber: `whatsapp:${sender}`,
    },
  },
  {
    ...genda,
    channel: 'whatsapp',
    provider: 'meta',
    credentials: {
      accessToken: 'fake_genda_access_token',
      phoneNumberId: '104000000000001',
      verifyToken: 'fake_genda_verify_token',
      appSecret: 'fake_genda_app_secret',
    },
  },
  {
    ...roe,
    channel: 'sms',
    provider: 'twilio',
    credentials: { accountSid: 'AC_roe_fake', authToken: 'fake_roe_token', phoneNumber: sender },
  },
  {
    ...tableflow,
    channel: 'email',
    provider: 'resend',
    credentials: { apiKey: 're_fake_tableflow_key', fromEmail: 'hello@tableflow.example' },
  },
  {
    ...roe,
    channel: 'email',
    provider: 'sendgrid',
    credentials: { apiKey: 'SG.fake_roe_key', fromEmail: 'hello@roe.example' },
  },
  {
    ...genda,
    channel: 'email',
    provider: 'resend',
    credentials: { apiKey: 're_fake_genda_key', fromEmail: 'hello@genda.example' },
  },
]

/** Tells the provider where to report; answers the secrets that it shows for it. */
export async function registerWebhook(
  sandbox: Sandbox,
  { provider, channel, credentials }: Route,
  url: string,
): Promise<Record<string, string>> {
  const put = (account: string | undefined, input: object) =>
    sandbox.control<Record<string, string>>('PUT', `/accounts/${provider}/${account}`, input)
  switch (provider) {
    case 'twilio': {
      const token = credentials['authToken']
      await put(credentials['accountSid'], { token, [`${channel}_webhook_url`]: url })
      return {}
    }
    case 'meta': {
      const { accessToken: token, appSecret } = credentials
      await put(credentials['phoneNumberId'], { token, app_secret: appSecret, webhook_url: url })
      return {}
    }
    case 'sendgrid': {
      const account = await put(credentials['apiKey'], { webhook_url: url })
      return { webhookPublicKey: account['public_key'] ?? '' }
    }
    case 'resend': {
      const account = await put(credentials['apiKey'], { webhook_url: url })
      return { webhookSecret: account['signing_secret'] ?? '' }
    }
  }
}

/** A customer writes to the route's sender; answers the provider's id of the message. */
export async function writeAsCustomer(
  sandbox: Sandbox,
  { provider, channel, credentials }: Route,
  written: { from: string; text: string },
): Promise<string> {
  const prefix = channel === 'whatsapp' ? 'whatsapp:' : ''
  const { text } = written
  const input = {
    twilio: {
      account: credentials['accountSid'],
      from: prefix + written.from,
      to: prefix + sender,
      text,
    },
    meta: { account: credentials['phoneNumberId'], from: written.from, text },
    sendgrid: mailTo(credentials, written),
    resend: mailTo(credentials, written),
  }[provider]
  const path = `/inbound/${provider}?wait_ms=0`
  const { message_ids: ids } = await sandbox.control<{ message_ids: string[] }>('POST', path, input)
  return ids[0]!
}

function mailTo(credentials: Record<string, string>, { from, text }: { from: string; text: string }) {
  return { account: credentials['apiKey'], from, to: credentials['fromEmail'], subject: text, text }
}
