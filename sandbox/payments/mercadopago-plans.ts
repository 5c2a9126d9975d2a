import { randomBytes } from 'node:crypto'
import { replyJson, textOf } from '../http.ts'
import type { Reply } from '../http.ts'
import { isWebAddress } from './mercadopago-payment-rules.ts'
import { viewTerms } from './mercadopago-preapproval.ts'
import type { Plan } from './mercadopago-preapproval.ts'
import { isReply, refuseSubscription } from './mercadopago-replies.ts'
import { indexed, replyFound } from './mercadopago-search.ts'
import { writeTime } from './mercadopago-sites.ts'
import { readTerms } from './mercadopago-subscription-rules.ts'
import { notify } from './mercadopago-webhooks.ts'
import type { Turn } from './mercadopago-webhooks.ts'

type Body = Record<string, unknown>

/** POST /preapproval_plan */
export function answerCreatePlan(turn: Turn, body: Body): Reply {
  const { mercadopago, account } = turn
  const terms = readTerms(turn, body['auto_recurring'], 'plan')
  if (isReply(terms)) return terms
  if (textOf(body['reason']) === '') return refuseSubscription('reason is required')
  if (!isWebAddress(body['back_url'])) return refuseSubscription('back_url is required')
  const now = mercadopago.world.now()
  const plan: Plan = {
    id: `2c9380${randomBytes(13).toString('hex')}`,
    account,
    status: 'active',
    reason: textOf(body['reason']),
    backUrl: textOf(body['back_url']),
    terms,
    createdAt: now,
    updatedAt: now,
  }
  mercadopago.plans.set(plan.id, plan)
  account.plans.push(plan)
  tellPlan(turn, plan, 'created')
  return replyPlan(turn, plan, 201)
}

/** PUT /preapproval_plan/{id}: a new amount reaches those who subscribed before, a new frequency does not. */
export function answerUpdatePlan(turn: Turn, plan: Plan, body: Body): Reply {
  if (body['auto_recurring'] !== undefined) {
    const terms = readTerms(turn, { ...viewTerms(plan.terms), ...Object(body['auto_recurring']) }, 'plan')
    if (isReply(terms)) return terms
    plan.terms = terms
    for (const one of turn.account.preapprovals) if (one.plan === plan) one.terms.amount = terms.amount
  }
  plan.reason = textOf(body['reason']) || plan.reason
  plan.backUrl = textOf(body['back_url']) || plan.backUrl
  if (body['status'] === 'cancelled') plan.status = 'cancelled'
  plan.updatedAt = turn.mercadopago.world.now()
  tellPlan(turn, plan, 'updated')
  return replyPlan(turn, plan)
}

export function answerReadPlan(turn: Turn, plan: Plan): Reply {
  return replyPlan(turn, plan)
}

/** GET /preapproval_plan/search */
export function searchPlans(turn: Turn, query: URLSearchParams): Reply {
  const [status, text] = [query.get('status'), query.get('q')?.toLowerCase() ?? '']
  const found = indexed(turn, turn.account.plans).filter(
    (plan) => (status === null || plan.status === status) && plan.reason.toLowerCase().includes(text),
  )
  return replyFound(query, found.toReversed(), (plan) => viewPlan(turn, plan))
}

function tellPlan(turn: Turn, { id }: Plan, action: 'created' | 'updated'): void {
  notify(turn, { topic: 'subscription_preapproval_plan', action, id, url: null, lane: id })
}

function replyPlan(turn: Turn, plan: Plan, status = 200): Reply {
  return replyJson(status, viewPlan(turn, plan))
}

function viewPlan({ mercadopago }: Turn, plan: Plan): Body {
  return {
    id: plan.id,
    status: plan.status,
    reason: plan.reason,
    back_url: plan.backUrl,
    collector_id: plan.account.userId,
    application_id: plan.account.applicationId,
    init_point: `${mercadopago.world.url}/mercadopago/subscriptions/checkout?preapproval_plan_id=${plan.id}`,
    auto_recurring: viewTerms(plan.terms),
    date_created: writeTime(plan.createdAt),
    last_modified: writeTime(plan.updatedAt),
  }
}
