import type { Facts, MessageView, SandboxMessage } from './facts.ts'
import { readStory } from './facts.ts'
import type { Installation } from './installation.ts'
import type { PlannedMessage } from './plan.ts'
import type { Accepted } from './traffic.ts'
import { count, forbid, groupBy, type Verdict } from './verdict.ts'

/** Every accepted message is one row and at most one effect, and its status says what became of it. */
export async function judgeMessages(
  verdict: Verdict,
  installation: Installation,
  accepted: readonly Accepted[],
  facts: Facts,
): Promise<void> {
  const sent = facts.messages.filter(
    ({ direction, auto_reply: reply }) => direction === 'out' && reply === null,
  )
  judgeAcceptance(verdict, accepted, sent)
  const effects = countEffects(facts)
  judgeEffects(verdict, facts, effects)
  const planned = new Map(accepted.map(({ planned: plan }) => [plan.reference, plan]))
  judgeStatuses(verdict, sent, planned, effects)
  await judgeUnknown(verdict, installation, facts.messages, effects)
  forbid(verdict, 'calls without an end', facts.openAttempts)
  forbid(verdict, 'dead work', facts.deadWork)
}

function judgeAcceptance(
  verdict: Verdict,
  accepted: readonly Accepted[],
  sent: readonly MessageView[],
): void {
  const rows = groupBy(sent, ({ reference }) => reference)
  const answered = accepted.filter(({ ids }) => ids.length > 0)
  count(verdict, 'messages planned', accepted.length)
  count(verdict, 'accepted with 202', answered.length)
  count(verdict, 'calls that got no answer', sum(accepted.map(({ lostCalls }) => lostCalls)))
  count(verdict, 'message rows', sent.length)
  const problems = accepted.flatMap(({ problems: found }) => found)
  forbid(verdict, 'answered neither 202 nor not at all', problems)
  const unanswered = accepted.filter(({ ids }) => ids.length === 0)
  forbid(
    verdict,
    'never accepted',
    unanswered.map(({ planned }) => planned.reference),
  )
  const wrong = answered.filter(({ ids, planned }) => {
    const [row, ...others] = rows.get(planned.reference) ?? []
    return others.length > 0 || ids.some((id) => id !== row?.id)
  })
  forbid(
    verdict,
    'accepted but not exactly one row',
    wrong.map(({ planned, ids }) => `${planned.reference} → ${ids.join(', ')}`),
  )
  const known = new Set(accepted.map(({ planned }) => planned.reference))
  const strangers = sent.filter(({ reference }) => !known.has(reference ?? ''))
  forbid(
    verdict,
    'rows that nobody asked for',
    strangers.map(({ id }) => id),
  )
}

/** Effects at the providers by message id. */
export function countEffects(facts: Facts): Map<string, number> {
  const outbound = facts.sandboxMessages.filter(({ direction }) => direction === 'outbound')
  const byReference = groupBy(outbound, ({ reference }) => reference)
  return new Map(
    [...byReference].map(([id, made]) => [id, new Set(made.map(({ effect_id: effect }) => effect)).size]),
  )
}

function judgeEffects(verdict: Verdict, facts: Facts, effects: ReadonlyMap<string, number>): void {
  const ids = new Set(facts.messages.map(({ id }) => id))
  const isOut = ({ direction }: SandboxMessage) => direction === 'outbound'
  count(verdict, 'provider effects', sum([...effects.values()]))
  const doubled = [...effects].filter(([, number]) => number > 1)
  forbid(
    verdict,
    'messages with two effects',
    doubled.map(([id, number]) => `${id} ${number}×`),
  )
  const nameless = facts.sandboxMessages.filter((one) => isOut(one) && !ids.has(one.reference ?? ''))
  forbid(
    verdict,
    'effects of no message',
    nameless.map(({ provider, id }) => `${provider} ${id}`),
  )
}

function judgeStatuses(
  verdict: Verdict,
  sent: readonly MessageView[],
  planned: ReadonlyMap<string, PlannedMessage>,
  effects: ReadonlyMap<string, number>,
): void {
  for (const [status, messages] of groupBy(sent, (message) => message.status)) {
    count(verdict, `status ${status}`, messages.length)
  }
  const wrong = sent.flatMap((message) => {
    const plan = planned.get(message.reference ?? '')
    const expected = plan ? listEnds(plan, effects.get(message.id) ?? 0) : []
    if (expected.includes(message.status)) return []
    const happened = `${effects.get(message.id) ?? 0} effects, ${plan?.play.name}, ${message.provider}`
    return [`${message.id} ${message.status}, not ${expected.join(' or ')} (${happened})`]
  })
  forbid(verdict, 'wrong final status', wrong)
}

/** A message that had no effect is unknown for good; one that nobody reports about may stay as it was. */
function listEnds({ play, route }: PlannedMessage, effects: number): string[] {
  if (effects === 0) return ['unknown']
  if (play.end === 'none') return ['queued', 'unknown']
  if (play.end === 'fails') return ['failed']
  return [route.channel === 'whatsapp' ? 'read' : 'delivered']
}

async function judgeUnknown(
  verdict: Verdict,
  installation: Installation,
  messages: readonly MessageView[],
  effects: ReadonlyMap<string, number>,
): Promise<void> {
  const unknown = messages.filter(({ status }) => status === 'unknown')
  count(verdict, 'unknown, with an effect', unknown.filter(({ id }) => effects.get(id) === 1).length)
  count(verdict, 'unknown, without an effect', unknown.filter(({ id }) => !effects.has(id)).length)
  const unexplained: string[] = []
  for (const { id } of unknown) {
    const { attempts } = await readStory(installation, id)
    if (!attempts.some(({ outcome }) => outcome === 'unknown')) unexplained.push(id)
  }
  forbid(verdict, 'unknown without an attempt that says so', unexplained)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
