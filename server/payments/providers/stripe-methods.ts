import { z } from 'zod'
import { optional, optionalText, readJson } from '#connections'
import type { Outcome } from '#connections'
import type { Customer, MethodCommand, MethodRef, MethodSnapshot } from './provider.ts'
import { callStripe, readFailure, readListPage, refuse, type StripeContext, title } from './stripe-call.ts'
import { addParameter, canceledParameter, expandable, expanded, methodAnswer } from './stripe-mapping.ts'
import {
  readAction,
  readMethod,
  redirectTo,
  references,
  type Setup,
  setupAnswer,
  setupCall,
} from './stripe-mapping.ts'

const customerAnswer = z.looseObject({
  id: z.string().min(1),
  metadata: optional(z.record(z.string(), z.string())),
})

const setupPage = z.looseObject({
  id: z.string().min(1),
  status: z.string(),
  url: optionalText,
  setup_intent: expandable(setupAnswer),
  metadata: optional(z.record(z.string(), z.string())),
})
type SetupPage = z.output<typeof setupPage>

type Method = Promise<Outcome<{ snapshot: MethodSnapshot }>>

/**
 * The customer at Stripe whom methods and subscriptions belong to. One who was here before is found again, because
 * a subscription takes only methods of its own customer.
 */
export async function ensureCustomer(
  { reference, email, name, phone }: Customer,
  key: string,
  context: StripeContext,
): Promise<Outcome<{ id: string }>> {
  if (reference !== undefined && email !== undefined) {
    const page = await readListPage(context, { path: ['customers'], form: { email }, item: customerAnswer })
    if (page.outcome !== 'done') return page
    const known = page.items.findLast(({ metadata }) => metadata?.[references.customer] === reference)
    if (known) return { outcome: 'done', id: known.id }
  }
  const metadata = { [references.customer]: reference }
  const form = { email, name, phone, metadata }
  const outcome = await callStripe(context, {
    path: ['customers'],
    key,
    form,
    read: readJson(customerAnswer),
  })
  return outcome.outcome === 'done' ? { outcome: 'done', id: outcome.answer.id } : outcome
}

/** With a token the method is tried at once; without, the customer enters it on Stripe's page. */
export async function saveMethod(command: MethodCommand, context: StripeContext): Method {
  const { methodId, token, returnUrl, key } = command
  const customer = await ensureCustomer(command.customer, `${key}-customer`, context)
  if (customer.outcome !== 'done') return customer
  const metadata = { [references.method]: methodId }
  if (token === undefined) return openSetupPage(customer.id, metadata, command, context)
  const form = {
    customer: customer.id,
    payment_method: token,
    usage: 'off_session',
    confirm: true,
    automatic_payment_methods: { enabled: true, allow_redirects: 'always' },
    return_url: returnUrl,
    metadata,
    expand: ['payment_method'],
  }
  const outcome = await callStripe(context, { path: ['setup_intents'], key, form, ...setupCall })
  return outcome.outcome === 'done' ? { outcome: 'done', snapshot: readSetup(outcome.answer) } : outcome
}

async function openSetupPage(
  customer: string,
  metadata: Record<string, string>,
  { returnUrl, key }: MethodCommand,
  context: StripeContext,
): Method {
  const form = {
    mode: 'setup',
    customer,
    allowed_payment_method_types: ['card'],
    success_url: returnUrl,
    cancel_url: addParameter(returnUrl, `${canceledParameter}=1`),
    setup_intent_data: { metadata },
    metadata,
  }
  const call = { path: ['checkout', 'sessions'], key, form, read: readJson(setupPage) }
  const outcome = await callStripe(context, call)
  return outcome.outcome === 'done' ? { outcome: 'done', snapshot: readSetupPage(outcome.answer) } : outcome
}

export async function finishMethod(
  { methodId, providerInscriptionId: id = '' }: MethodRef,
  parameters: URLSearchParams,
  context: StripeContext,
): Method {
  const read = await readInscription(id, context)
  if (read.outcome !== 'done') return read
  const { owner, snapshot } = read.answer
  if (owner !== methodId) return refuse('state', `${title} has no such inscription for this method.`)
  const gaveUp = snapshot.status === 'pending' && parameters.has(canceledParameter)
  return { outcome: 'done', snapshot: gaveUp ? { ...snapshot, ...givenUp, action: undefined } : snapshot }
}

const givenUp = {
  status: 'canceled',
  failure: { code: 'canceled_by_customer', providerCode: 'open', retry: 'same' },
} as const

function readInscription(
  id: string,
  context: StripeContext,
): Promise<Outcome<{ answer: { owner: string | undefined; snapshot: MethodSnapshot } }>> {
  const isPage = id.startsWith('cs_')
  const path = isPage ? ['checkout', 'sessions', id] : ['setup_intents', id]
  const form = { expand: [isPage ? 'setup_intent.payment_method' : 'payment_method'] }
  return callStripe(context, {
    path,
    form,
    read: (answer) => {
      const page = isPage ? readJson(setupPage)(answer) : undefined
      const setup = isPage ? undefined : readJson(setupAnswer)(answer)
      const snapshot = page ? readSetupPage(page) : setup && readSetup(setup)
      return snapshot && { owner: (page ?? setup)?.metadata?.[references.method], snapshot }
    },
  })
}

function readSetupPage(page: SetupPage): MethodSnapshot {
  const setup = expanded(page.setup_intent)
  if (setup && page.status === 'complete') return { ...readSetup(setup), providerInscriptionId: page.id }
  return {
    status: page.status === 'expired' ? 'canceled' : 'pending',
    providerInscriptionId: page.id,
    ...(page.url && { action: redirectTo(page.url) }),
  }
}

function readSetup(setup: Setup): MethodSnapshot {
  const { id, status, customer, payment_method: method, last_setup_error: reason } = setup
  const about = { providerInscriptionId: id }
  const methodId = typeof method === 'string' ? method : method?.id
  if (status === 'succeeded' && customer && methodId) {
    const summary = readMethod(expanded(method))
    const token = { customer, payment_method: methodId }
    return { ...about, status: 'active', token, ...(summary && { summary }) }
  }
  if (status === 'requires_payment_method' && reason) {
    return { ...about, status: 'failed', failure: readFailure(reason) }
  }
  if (status === 'canceled') return { ...about, status: 'canceled' }
  const action = readAction(setup.next_action)
  return { ...about, status: 'pending', ...(action && { action }) }
}

/** Gone is gone, whoever removed it. */
export async function removeMethod(
  token: Readonly<Record<string, string>>,
  { methodId }: MethodRef,
  context: StripeContext,
): Promise<Outcome<object>> {
  const path = ['payment_methods', token.payment_method ?? '', 'detach']
  const outcome = await callStripe(context, { path, key: `${methodId}-detach`, read: readJson(methodAnswer) })
  return outcome.outcome === 'refused' && outcome.error.code === 'resource_missing'
    ? { outcome: 'done' }
    : outcome
}
