import { createClient } from '../harness.ts'
import { ask, type Body, pause, type Tally } from './calls.ts'
import { type NextAction, visitPage } from './customers.ts'
import type { Installation } from './installation.ts'
import type { Asked, Journey, Step, Visit } from './plan.ts'
import { customerOf, payWith, type Shop } from './shops.ts'

/** What was done for one sale. */
export interface Played extends Tally {
  journey: Journey
  /** Every id that an answer named: the same for each call. */
  ids: string[]
  operations: number
  /** The customer agreed to pay on the page, and the browser came back. */
  isAgreed: boolean
  /** Refunds that were asked for, each under a key of its own. */
  refundsAsked: number
  /** Refunds made by hand at the provider. */
  refundsThere: number
}

interface PaymentView {
  id: string
  status: string
  amount: number
  captured: number
  provider_payment_id: string | null
  next_action: NextAction | null
}

const ends = ['payment.confirmed', 'payment.failed', 'payment.canceled', 'payment.expired']
const returnUrl = 'https://shop.example.com/back?order=42'

/** Plays a sale as a shop and its customer do; what becomes impossible on the way is left out. */
export async function playJourney(
  installation: Installation,
  journey: Journey,
  number: number,
  patienceMs: number,
): Promise<Played> {
  const played: Played = {
    journey,
    ids: [],
    operations: 0,
    isAgreed: false,
    refundsAsked: 0,
    refundsThere: 0,
    lostCalls: 0,
    problems: [],
  }
  const stage = { installation, journey, shop: chooseShop(installation, journey, number), played, patienceMs }
  await sell(stage)
  const [id] = played.ids
  if (id === undefined) return played
  const { visit, sale, steps } = journey
  if (visit !== undefined && !(await visitWhenOpen(stage, id, visit))) return played
  const wanted = sale.capture === 'manual' ? 'payment.authorized' : 'payment.confirmed'
  let heard = await hear(stage, id, [wanted, ...ends])
  for (const [index, step] of steps.entries()) {
    if (heard !== (step.do === 'capture' || step.do === 'cancel' ? 'payment.authorized' : ends[0])) break
    await pause(journey.pauseMs)
    await takeStep(stage, id, step, index)
    if (step.do === 'capture') heard = await hear(stage, id, ends)
  }
  return played
}

interface Stage {
  installation: Installation
  journey: Journey
  shop: Shop
  played: Played
  patienceMs: number
}

function chooseShop({ shops }: Installation, { provider, sale }: Journey, number: number): Shop {
  const kind = provider === 'transbank' && sale.capture === 'manual' ? 'holding' : 'usual'
  const fitting = shops[kind].filter((shop) => shop.provider === provider)
  return fitting[number % fitting.length]!
}

function hear({ installation, patienceMs }: Stage, id: string, types: readonly string[]) {
  return installation.news.waitFor(id, types, patienceMs)
}

/** Others than these are nobody's fault but PipeCore's. */
const fairRefusals = [
  'payment_busy',
  'payment_state',
  'payment_refunded',
  'provider_refused',
  'amount_too_large',
]

interface Wish {
  body?: object
  name: string
  asked: Asked
}

async function post(stage: Stage, path: string, { name, ...wish }: Wish): Promise<Body[]> {
  const { installation, journey, played } = stage
  const idempotencyKey = `${name} of ${journey.reference}`
  const answers = await ask(installation, played, { path, idempotencyKey, ...wish })
  return answers.flatMap(({ status, text, body }) => {
    if (status < 300) return [body]
    if (!fairRefusals.includes(String(body.code))) played.problems.push(`${path} ${status} ${text}`)
    return []
  })
}

async function sell(stage: Stage): Promise<void> {
  const { journey, shop, played } = stage
  const { way, amount, capture, asked } = journey.sale
  const isPage = way === 'page' || way === 'checkout'
  const sale = {
    tenant_id: shop.tenantId,
    provider: shop.provider,
    currency: 'CLP',
    capture,
    reference: journey.reference,
    customer: customerOf(shop.tenantId),
    ...(isPage ? { return_url: returnUrl } : { ...payWith(shop, way), return_url: returnUrl }),
  }
  const isCheckout = way === 'checkout'
  const items = [{ title: 'Menú del día', unit_amount: amount }]
  const path = isCheckout ? '/payments/checkouts' : '/payments/create'
  const body = { ...sale, ...(isCheckout ? { items } : { amount }) }
  played.operations += 1
  for (const sold of await post(stage, path, { body, name: 'sale', asked })) {
    played.ids.push(sold.payment_id ?? sold.id ?? '')
  }
}

/** False when there was no page to visit. */
async function visitWhenOpen(stage: Stage, id: string, visit: Visit): Promise<boolean> {
  const { installation, journey, played } = stage
  const heard = await hear(stage, id, ['payment.requires_action', ...ends])
  if (heard !== 'payment.requires_action') return false
  const { next_action: action } = await read(stage, id)
  if (action === null) return false
  await pause(journey.pauseMs)
  played.operations += 1
  await visitPage(installation.sandbox, journey.provider, action, visit)
  played.isAgreed = visit.choice === 'approve' && visit.comes !== 'never'
  return visit.choice === 'approve' || visit.choice === 'decline'
}

async function takeStep(stage: Stage, id: string, step: Step, index: number): Promise<void> {
  const { played } = stage
  const path = `/payments/${id}`
  const name = `step ${index}`
  const { captured, amount, provider_payment_id: providerId } = await read(stage, id)
  switch (step.do) {
    case 'cancel':
      played.operations += 1
      await post(stage, `${path}/cancel`, { name, asked: step.asked })
      return
    case 'capture': {
      played.operations += 1
      const body = step.percent === 100 ? {} : { amount: share(amount, step.percent) }
      await post(stage, `${path}/capture`, { name, asked: step.asked, body })
      return
    }
    case 'refund':
      await Promise.all(
        step.percents.map((percent, part) => {
          played.operations += 1
          played.refundsAsked += 1
          const body = percent === undefined ? {} : { amount: share(captured, percent) }
          return post(stage, `${path}/refunds`, { name: `${name}.${part}`, asked: step.asked, body })
        }),
      )
      return
    case 'refund_there':
      played.operations += 1
      if (await refundThere(stage, String(providerId), share(captured, step.percent), step.isTold))
        played.refundsThere += 1
  }
}

function share(amount: number, percent: number): number {
  return Math.floor((amount * percent) / 100)
}

async function refundThere(
  { installation, journey }: Stage,
  payment: string,
  amount: number,
  isTold: boolean,
): Promise<boolean> {
  const act = { provider: journey.provider, action: 'refund', payment, amount }
  // Transbank tells nobody anyway.
  const told = journey.provider === 'transbank' ? {} : { webhook: isTold }
  try {
    await installation.sandbox.control('POST', '/act', { ...act, ...told })
    return true
  } catch {
    return false
  }
}

const readTries = 60
const readPauseMs = 300

/** Reads until PipeCore answers: it may be down. */
async function read({ installation: { api, key } }: Stage, id: string): Promise<PaymentView> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await createClient(api.url, key).ok<PaymentView>('GET', `/payments/${id}`)
    } catch (error) {
      if (tries === readTries) throw error
      await pause(readPauseMs)
    }
  }
}
