import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { domainOf } from '../addresses.ts'
import type { CallbackInput } from '../callbacks.ts'
import { pickFault, pickLookupFault, playAfter, playBefore } from '../faults.ts'
import type { Fault } from '../faults.ts'
import { readJsonObject, replyJson } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { startLife } from '../life.ts'
import { takeRate } from '../rates.ts'
import { createSigningKeys, seedFrom } from '../signatures.ts'
import { addMessage, runAt } from '../world.ts'
import type { Message, World } from '../world.ts'
import { changeToken, clearKeyAccounts, createKeyAccounts, findKeyAccount } from './key-accounts.ts'
import { addEventWebhook, createSendgridAccount, makeEventPost } from './sendgrid-account.ts'
import type { Sendgrid, SendgridAccount } from './sendgrid-account.ts'
import { receiveSendgrid, sendgridInboundSchema } from './sendgrid-inbound.ts'
import { planSendgridSteps } from './sendgrid-life.ts'
import { readSendgridSend, refuseKey, refuseSender, refuseSendgrid, sendgridError } from './sendgrid-rules.ts'
import type { Personalization, SendgridSend } from './sendgrid-rules.ts'
import { answerSendgridSettings } from './sendgrid-settings.ts'
import { inputError } from './simulator.ts'
import type { AccountView, Simulator } from './simulator.ts'

export function createSendgrid(world: World): Simulator {
  const sendgrid: Sendgrid = { world, accounts: createKeyAccounts() }
  return {
    id: 'sendgrid',
    title: 'SendGrid',
    answer: (call) => routeSendgrid(sendgrid, call),
    putAccount: async (name, input) => putAccount(sendgrid, name, input),
    listAccounts: () => [...sendgrid.accounts.byName.values()].map(viewAccount),
    receive: async (input) => receiveSendgrid(sendgrid, sendgridInboundSchema.parse(input)),
    sample: (account, url) => sample(sendgrid, account, url),
    clear() {
      for (const account of sendgrid.accounts.byName.values()) {
        account.batches.clear()
        for (const list of account.suppressions.values()) list.clear()
      }
    },
    clearAccounts: () => clearKeyAccounts(sendgrid.accounts),
  }
}

const accountSchema = z.strictObject({
  token: z.string().startsWith('SG.').optional(),
  /** Event webhook; signed with a key pair of its own. */
  webhook_url: z.url().optional(),
  /** Inbound parse; the event webhook's URL when left out. */
  parse_url: z.url().optional(),
  verified_domains: z.array(z.string()).nullable().optional(),
})

function putAccount(sendgrid: Sendgrid, name: string, input: unknown): AccountView {
  const change = accountSchema.parse(input)
  const token = change.token ?? (name.startsWith('SG.') ? name : undefined)
  const account =
    findKeyAccount(sendgrid.accounts, name) ??
    createSendgridAccount(
      sendgrid,
      token ?? `SG.${randomBytes(16).toString('base64url')}`,
      name.startsWith('SG.') ? undefined : name,
    )
  if (token && token !== account.token) changeToken(sendgrid.accounts, account, token)
  if (change.verified_domains !== undefined) account.verifiedDomains = change.verified_domains
  const [webhook] = account.webhooks
  if (change.webhook_url && webhook) webhook.url = change.webhook_url
  else if (change.webhook_url) addEventWebhook(account, change.webhook_url, { signed: true })
  const parseUrl = change.parse_url ?? (account.parse ? undefined : change.webhook_url)
  if (parseUrl) {
    account.parse = {
      hostname: 'inbound.example.com',
      url: parseUrl,
      keys: account.webhooks[0]?.keys ?? createSigningKeys(seedFrom(account.token, 'parse')),
    }
  }
  return viewAccount(account)
}

function viewAccount(account: SendgridAccount): AccountView {
  return {
    provider: 'sendgrid',
    account: account.name,
    token: account.token,
    public_key: account.webhooks[0]?.keys.publicKey ?? null,
    webhooks: account.webhooks.map(({ id, url, enabled, signed, keys }) => ({
      id,
      url,
      enabled,
      signed,
      public_key: keys.publicKey,
    })),
    parse: account.parse && { url: account.parse.url, public_key: account.parse.keys?.publicKey ?? null },
    verified_domains: account.verifiedDomains,
  }
}

async function routeSendgrid(sendgrid: Sendgrid, call: Call): Promise<Reply> {
  const [, token = ''] = /^Bearer (.+)$/i.exec(call.headers['authorization'] ?? '') ?? []
  if (!token.startsWith('SG.') || /invalid/i.test(token)) return refuseKey()
  const account = findKeyAccount(sendgrid.accounts, token) ?? createSendgridAccount(sendgrid, token)
  if (call.path === '/v3/mail/send') {
    if (call.method !== 'POST')
      return sendgridError(405, [{ message: 'POST method allowed only', field: null }])
    return sendMail(sendgrid, account, call)
  }
  if (/restricted/i.test(token)) return answerRestricted(call)
  const early = await playBefore(pickLookupFault(sendgrid.world, 'sendgrid'), refuseSendgrid)
  if (early) return early
  if (call.path === '/v3/scopes')
    return replyJson(200, {
      scopes: ['mail.send', 'user.webhooks.event.settings.update', 'suppression.read'],
    })
  const answered = answerSendgridSettings(sendgrid, account, call)
  return answered ?? sendgridError(404, [{ message: 'Not Found', field: null }])
}

/** A key that may send and nothing else. */
function answerRestricted(call: Call): Reply {
  if (call.path === '/v3/scopes') return replyJson(200, { scopes: ['mail.send'] })
  return sendgridError(403, [{ message: 'access forbidden', field: null }])
}

async function sendMail(sendgrid: Sendgrid, account: SendgridAccount, call: Call): Promise<Reply> {
  const { world } = sendgrid
  const body = readJsonObject(call)
  const checked = readSendgridSend(body, world.now())
  const first = 'send' in checked ? checked.send.personalizations[0] : undefined
  const reference = first?.customArgs['message_id'] ?? null
  const from = 'send' in checked ? checked.send.from.email : ''
  const fault = pickFault(world, {
    provider: 'sendgrid',
    channel: 'email',
    to: first?.recipients[0] ?? '',
    from,
    reference,
  })
  const early = await playBefore(fault, refuseSendgrid)
  if (early) return early
  if (!takeRate(world, 'sendgrid', account.name))
    return refuseSendgrid({ name: 'rate_limited', retryAfterSeconds: 1 })!
  if ('error' in checked) return checked.error
  if (!isVerified(account, from)) return refuseSender()
  if (checked.send.isSandboxMode) return { status: 200, headers: { 'content-length': '0' } }
  const messageId = randomBytes(16).toString('base64url').replaceAll(/[_.-]/g, 'x')
  await takeAll(sendgrid, account, { send: checked.send, messageId, fault })
  return playAfter(fault, { status: 202, headers: { 'x-message-id': messageId, 'content-length': '0' } })
}

function isVerified(account: SendgridAccount, from: string): boolean {
  return account.verifiedDomains
    ? account.verifiedDomains.includes(domainOf(from))
    : !from.includes('unverified')
}

type Taking = { send: SendgridSend; messageId: string; fault: Fault | null }

/** One message per recipient; all of them are one effect. */
async function takeAll(sendgrid: Sendgrid, account: SendgridAccount, taking: Taking): Promise<void> {
  const { send, messageId, fault } = taking
  const lives = send.personalizations.flatMap((personalization, index) =>
    personalization.recipients.map((to, position) => {
      const sgMessageId = `${messageId}.recvd-5d8f7c-1-${index}.${position}`
      const message = take(sendgrid, account, { ...taking, personalization, to, sgMessageId })
      const own =
        personalization.recipients[0] === to && index === 0
          ? fault
          : pickOwnFault(sendgrid, personalization, to)
      const steps = planSendgridSteps(sendgrid, account, {
        message,
        fault: own,
        personalization,
        send,
        sgMessageId,
      })
      const start = () => startLife(sendgrid.world, message, own, steps)
      const { sendAt } = send
      if (sendAt === null) return start()
      runAt(
        sendgrid.world,
        () => sendAt * 1_000,
        () => void start(),
      )
      return Promise.resolve()
    }),
  )
  await Promise.all(lives)
}

/** Further recipients of a call play what concerns them alone. */
function pickOwnFault(sendgrid: Sendgrid, personalization: Personalization, to: string): Fault | null {
  const reference = personalization.customArgs['message_id'] ?? null
  return pickFault(sendgrid.world, { provider: 'sendgrid', channel: 'email', to, from: '', reference })
}

function take(
  sendgrid: Sendgrid,
  account: SendgridAccount,
  taking: Taking & { personalization: Personalization; to: string; sgMessageId: string },
): Message {
  const { send, personalization } = taking
  return addMessage(sendgrid.world, {
    id: taking.sgMessageId,
    effect_id: taking.messageId,
    provider: 'sendgrid',
    account: account.name,
    channel: 'email',
    direction: 'outbound',
    from: send.from.name ? `${send.from.name} <${send.from.email}>` : send.from.email,
    to: taking.to,
    subject: personalization.subject ?? send.subject,
    text: send.text,
    html: send.html,
    details: {
      custom_args: personalization.customArgs,
      categories: send.categories,
      attachments: send.attachments,
      headers: send.headers,
      ...(send.templateId ? { template: send.templateId, variables: personalization.templateData } : {}),
    },
    reference: personalization.customArgs['message_id'] ?? null,
    state: send.sendAt === null ? 'accepted' : 'scheduled',
    fault: taking.fault?.name ?? null,
  })
}

function sample(sendgrid: Sendgrid, name: string | undefined, url: string | undefined): CallbackInput {
  const { byName } = sendgrid.accounts
  const account = name === undefined ? byName.values().next().value : findKeyAccount(sendgrid.accounts, name)
  const webhook = account?.webhooks[0]
  if (!account || !webhook) throw inputError('account', 'no such account, or it has no event webhook')
  const timestamp = Math.floor(sendgrid.world.now().getTime() / 1_000)
  const id = randomBytes(16).toString('base64url')
  const event = {
    email: 'a@example.com',
    event: 'delivered',
    sg_event_id: id,
    sg_message_id: `${id}.recvd-0`,
    timestamp,
  }
  return makeEventPost(account, { ...webhook, url: url ?? webhook.url }, [{ event, messageId: id }])
}
