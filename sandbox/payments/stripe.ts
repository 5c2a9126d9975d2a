import { isObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import type { World } from '../world.ts'
import { clearAgenda, createAgenda, playDue } from './agenda.ts'
import { pickPaymentFault, playAfterEffect, playBeforeEffect } from './payment-faults.ts'
import type { PaymentFault } from './payment-faults.ts'
import type { PaymentSimulator } from './simulator.ts'
import { authenticate, clearAccounts, putAccount, viewAccount } from './stripe-accounts.ts'
import { actOnStripe } from './stripe-actions.ts'
import { faultError, invalidRequest, replyError, StripeError } from './stripe-errors.ts'
import { sendEvents } from './stripe-events.ts'
import { parseForm } from './stripe-form.ts'
import type { Form } from './stripe-form.ts'
import { recallKey, replayReply } from './stripe-idempotency.ts'
import { answerStripePage, listOpenPages } from './stripe-pages.ts'
import { playChoice } from './stripe-plays.ts'
import { readExpand, renderObject } from './stripe-render.ts'
import type { Route } from './stripe-route.ts'
import { findRoute } from './stripe-routes.ts'
import { API_VERSION, clearObjects, createId, startWork } from './stripe-state.ts'
import type { Remembered, Stripe, StripeAccount } from './stripe-state.ts'

export function createStripe(world: World): PaymentSimulator {
  const stripe: Stripe = {
    world,
    agenda: createAgenda(world),
    accounts: { byName: new Map(), byKey: new Map(), byId: new Map() },
    pages: new Map(),
  }
  return {
    id: 'stripe',
    title: 'Stripe',
    answer: async (call) =>
      call.path.startsWith('/pay/') ? answerStripePage(stripe, call) : answerApi(stripe, call),
    putAccount: async (name, input) => putAccount(stripe, name, input),
    listAccounts: () => [...stripe.accounts.byName.values()].map(viewAccount),
    pay: async (input) => playChoice(stripe, input),
    act: async (action, input) => actOnStripe(stripe, action, input),
    listOpenPages: (limit) => listOpenPages(stripe, limit),
    clear() {
      clearAgenda(stripe.agenda)
      stripe.pages.clear()
      for (const account of stripe.accounts.byName.values()) clearObjects(account)
    },
    clearAccounts: () => clearAccounts(stripe),
  }
}

type Asked = {
  call: Call
  requestId: string
  account: StripeAccount
  key: string
  route: Route
  id: string
  form: Form
}

async function answerApi(stripe: Stripe, call: Call): Promise<Reply> {
  const requestId = createId('req', 10)
  const reply = await refuseOr(requestId, false, async () => {
    playDue(stripe.agenda)
    const { account, key } = authenticate(stripe, call)
    return refuseOr(requestId, account.livemode, async () => {
      checkVersion(call)
      const { route, id } = findRoute(call.method, call.path)
      return answerOnce(stripe, { call, requestId, account, key, route, id, form: readForm(call) })
    })
  })
  return { ...reply, headers: { ...echoHeaders(call), 'request-id': requestId, ...reply.headers } }
}

async function refuseOr(requestId: string, livemode: boolean, run: () => Promise<Reply>): Promise<Reply> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof StripeError) return replyError(error, requestId, livemode)
    throw error
  }
}

/** The first answer of an idempotency key is the answer to all its calls. */
async function answerOnce(stripe: Stripe, asked: Asked): Promise<Reply> {
  const { account, call, requestId, key, route } = asked
  const remembered = recallKey(account, call, { requestId, nowMs: stripe.world.now().getTime() })
  const isReplay = remembered !== null && remembered.reply !== null
  try {
    const fault = pickPaymentFault(stripe.world, {
      provider: 'stripe',
      operation: route.operation,
      reference: referenceOfCall(asked),
    })
    const early = await playBeforeEffect(fault, (played) => {
      const error = faultError(played, key)
      return error && replyError(error, requestId, account.livemode)
    })
    if (early) return early
    const reply = isReplay ? replayReply(remembered) : await carryOut(stripe, asked, remembered, fault)
    return playAfterEffect(fault, fault?.name === 'odd_status' ? makeOdd(reply) : reply)
  } finally {
    if (remembered?.reply === null) account.idempotency.delete(call.headers['idempotency-key'] ?? '')
  }
}

async function carryOut(
  stripe: Stripe,
  { account, call, requestId, route, id, form }: Asked,
  remembered: Remembered | null,
  fault: PaymentFault | null,
): Promise<Reply> {
  const work = {
    ...startWork(stripe, account),
    version: call.headers['stripe-version'] ?? API_VERSION,
    request: { id: requestId, idempotency_key: call.headers['idempotency-key'] ?? null },
    fault,
  }
  let reply: Reply
  let isKept = true
  try {
    const { expand, ...params } = form
    const paths = readExpand(expand)
    reply = replyJson(200, renderObject(account, route.run(work, params, id), paths))
  } catch (error) {
    if (!(error instanceof StripeError)) throw error
    reply = replyError(error, requestId, account.livemode)
    isKept = !error.isValidation
  }
  if (remembered && isKept) remembered.reply = reply
  await sendEvents(work)
  return reply
}

function readForm(call: Call): Form {
  if (call.method !== 'POST') return parseForm(call.query)
  const type = call.headers['content-type'] ?? ''
  if (call.body.length > 0 && !type.startsWith('application/x-www-form-urlencoded')) {
    const message =
      'Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help at https://support.stripe.com/.'
    throw invalidRequest(message)
  }
  return parseForm(new URLSearchParams(call.body.toString('utf8')))
}

function checkVersion({ headers }: Call): void {
  const version = headers['stripe-version']
  if (version === undefined || /^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$/.test(version)) return
  throw invalidRequest(`Invalid Stripe API version: ${version}`)
}

function echoHeaders({ headers, method }: Call): Record<string, string> {
  const names = ['stripe-account', ...(method === 'POST' ? ['idempotency-key'] : [])]
  const echoed = names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]]))
  return { 'stripe-version': headers['stripe-version'] ?? API_VERSION, ...Object.fromEntries(echoed) }
}

/** Everything of PipeCore's own that a call names, itself or by the objects it is about. */
function referenceOfCall({ account, form, id }: Asked): string {
  const named = [id, form['payment_intent'], form['charge']].map((name) => account.objects.get(textOf(name)))
  const parts: unknown[] = [
    form,
    ...named,
    form['payment_intent_data'],
    form['subscription_data'],
    form['setup_intent_data'],
  ]
  const found = parts.filter(isObject).flatMap(({ metadata, client_reference_id: own }) => [
    ...Object.entries(isObject(metadata) ? metadata : {})
      .filter(([name]) => name.startsWith('pipecore_'))
      .map(([, value]) => textOf(value)),
    textOf(own),
  ])
  return [...new Set(found)].join(' ').trim()
}

/** A status nobody has heard of, in this answer only. */
function makeOdd(reply: Reply): Reply {
  const body: unknown = JSON.parse(textOf(reply.body, '{}'))
  if (!isObject(body) || body['status'] === undefined) return reply
  return { ...reply, body: JSON.stringify({ ...body, status: 'under_consideration' }) }
}
