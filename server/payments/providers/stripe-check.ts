import { z } from 'zod'
import { optional, optionalText, readJson } from '#connections'
import type { CheckResult, ProviderContext } from '#connections'
import { callStripe, readListPage, type StripeContext, title } from './stripe-call.ts'
import { isLive, missingSecret, wantedTopics, type WebhookKeys } from './stripe-webhook.ts'

const accountAnswer = z.looseObject({ id: z.string(), charges_enabled: optional(z.boolean()) })
const paymentAnswer = z.looseObject({ id: z.string() })
const endpointAnswer = z.looseObject({
  id: z.string(),
  url: z.string(),
  status: optionalText,
  enabled_events: z.array(z.string()).catch([]),
})

/** Tries what payments need; what only helps a person is told where the key may see it. */
export async function checkStripe(context: ProviderContext<WebhookKeys>): Promise<CheckResult> {
  const { secretKey, account, webhookSecret } = context.credentials
  const tried = await readListPage(context, { path: ['payment_intents'], item: paymentAnswer })
  if (tried.outcome !== 'done') {
    return { ok: false, notes: [tried.error.message, ...adviseKey(secretKey, account)] }
  }
  const mode = isLive(secretKey)
    ? 'It is a live key: payments take real money.'
    : 'It is a test key: it takes test cards only and moves no money.'
  const owner = await checkAccount(context)
  const notes = [`${title} accepts the key${account ? ` for ${account}` : ''}.`, mode, ...owner.notes]
  if (webhookSecret === undefined) notes.push(missingSecret)
  return { ok: owner.ok, notes: [...notes, ...(await checkEndpoint(context))] }
}

function adviseKey(secretKey: string, account: string | undefined): string[] {
  const mode = isLive(secretKey) ? 'live' : 'test'
  const connected = `The key has to be of the platform that ${account} is connected to in ${mode} mode.`
  return [...(secretKey.startsWith('rk_') ? [restricted] : []), ...(account ? [connected] : [])]
}

const restricted =
  'A restricted key needs to write PaymentIntents, Refunds, Checkout Sessions, Customers and Subscriptions.'

async function checkAccount(context: StripeContext): Promise<CheckResult> {
  const outcome = await callStripe(context, { path: ['account'], read: readJson(accountAnswer) })
  if (outcome.outcome !== 'done') return { ok: true, notes: [] }
  const { id, charges_enabled: mayCharge } = outcome.answer
  const { account = id } = context.credentials
  if (id !== account) return { ok: false, notes: [`The key answers for ${id}, not for ${account}.`] }
  if (mayCharge !== false) return { ok: true, notes: [`The account is ${id}.`] }
  const note = `The account ${id} may not charge yet: complete it in the Dashboard of ${title}.`
  return { ok: false, notes: [note] }
}

/** Endpoints for connected accounts belong to the platform. */
async function checkEndpoint(context: ProviderContext<WebhookKeys>): Promise<string[]> {
  const { account: _account, ...platform } = context.credentials
  const listing = { path: ['webhook_endpoints'], item: endpointAnswer }
  const page = await readListPage({ ...context, credentials: platform }, listing)
  if (page.outcome !== 'done') {
    return [`Whether ${title} reports to ${context.webhookUrl} can not be seen with this key.`]
  }
  const endpoint = page.items.find(({ url }) => url === context.webhookUrl)
  if (!endpoint) {
    const events = wantedTopics.join(', ')
    return [`No webhook of ${title} reports to ${context.webhookUrl}: add one with ${events}.`]
  }
  const { id, status, enabled_events: enabled } = endpoint
  if (status === 'disabled') return [`The webhook ${id} is disabled: enable it at ${title}.`]
  const missing = enabled.includes('*') ? [] : wantedTopics.filter((topic) => !enabled.includes(topic))
  return missing.length > 0 ? [`The webhook ${id} does not report ${missing.join(', ')}: add them.`] : []
}
