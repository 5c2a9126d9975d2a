import type { Facts, MessageView, SandboxMessage } from './facts.ts'
import { readStory } from './facts.ts'
import type { Installation } from './installation.ts'
import type { Accepted } from './traffic.ts'
import { count, forbid, groupBy, type Verdict } from './verdict.ts'

/** Every accepted message is one row and at most one effect, and its status says what became of it. */
export async function judgeMessages(
  verdict: Verdict,
  installation: Installation,
  accepted: readonly Accepted[],
  facts: Facts,
): Promise<void> {
  const sent = facts.messages.filter(({ direction }) => direction === 'out')
  const effects = countEffects(facts)
  judgeAcceptance(
    verdict,
    accepted,
    sent.filter(({ auto_reply: reply }) => reply === null),
  )
  judgeEffects(verdict, facts, effects)
  judgeStatuses(verdict, sent, accepted, effects)
  await judgeUnknown(verdict, installation, facts, effects)
  forbid(verdict, 'calls without an end', facts.openAttempts)
  forbid(verdict, 'dead work', facts.deadWork)
}

function judgeAcceptance(
  verdict: Verdict,
  accepted: readonly Accepted[],
  sent: readonly MessageView[],
): void {
  const rows = groupBy(sent, ({ reference }) => reference)
  const isAnswered = ({ ids }: Accepted) => ids.length > 0
  const isDoubtful = ({ ids, planned }: Accepted) => {
    const [row, ...others] = rows.get(planned.reference) ?? []
    return others.length > 0 || ids.some((id) => id !== row?.id)
  }
  const nameOf = ({ planned }: Accepted) => planned.reference
  const known = new Set(accepted.map(nameOf))
  const answered = accepted.filter(isAnswered)
  count(verdict, 'messages planned', accepted.length)
  count(verdict, 'accepted with 202', answered.length)
  count(verdict, 'calls that got no answer', sum(accepted.map(({ lostCalls }) => lostCalls)))
  count(verdict, 'message rows', sent.length)
  const problems = accepted.flatMap((one) => one.problems.map((problem) => `${nameOf(one)} ${problem}`))
  forbid(verdict, 'answered something else', problems)
  const unanswered = accepted.filter((one) => !isAnswered(one))
  forbid(verdict, 'never accepted', unanswered, nameOf)
  forbid(verdict, 'accepted but not exactly one row', answered.filter(isDoubtful), nameOf)
  const strangers = sent.filter(({ reference }) => !known.has(reference ?? ''))
  forbid(verdict, 'rows that nobody asked for', strangers, ({ id }) => id)
}

/** Effects at the providers by message id. */
export function countEffects(facts: Facts): Map<string, number> {
  const byReference = groupBy(facts.sandboxMessages.filter(isOutbound), ({ reference }) => reference)
  return new Map(
    [...byReference].map(([id, made]) => [id, new Set(made.map(({ effect_id: effect }) => effect)).size]),
  )
}

function isOutbound({ direction }: SandboxMessage): boolean {
  return direction === 'outbound'
}

function judgeEffects(verdict: Verdict, facts: Facts, effects: ReadonlyMap<string, number>): void {
  const ids = new Set(facts.messages.map(({ id }) => id))
  const doubled = [...effects].filter(([, number]) => number > 1)
  const nameless = facts.sandboxMessages.filter((one) => isOutbound(one) && !ids.has(one.reference ?? ''))
  count(verdict, 'provider effects', sum([...effects.values()]))
  forbid(verdict, 'messages with two effects', doubled, ([id, number]) => `${id} ${number}×`)
  forbid(verdict, 'effects of no message', nameless, ({ provider, id }) => `${provider} ${id}`)
}

function judgeStatuses(
  verdict: Verdict,
  sent: readonly MessageView[],
  accepted: readonly Accepted[],
  effects: ReadonlyMap<string, number>,
): void {
  const plays = new Map(accepted.map(({ planned }) => [planned.reference, planned.play]))
  const wrong = sent.flatMap((message) => {
    // Automatic replies go to ordinary recipients.
    const { name, end } = plays.get(message.reference ?? '') ?? { name: 'reply', end: 'arrives' }
    const number = effects.get(message.id) ?? 0
    const expected = listStatuses(message, end, number)
    if (expected.includes(message.status)) return []
    const { id, provider, status } = message
    return [`${id} ${status}, not ${expected.join(' or ')} (${name}, ${provider}, ${number} effects)`]
  })
  for (const [status, messages] of groupBy(sent, (message) => message.status)) {
    count(verdict, `status ${status}`, messages.length)
  }
  forbid(verdict, 'wrong final status', wrong)
}

/** A message that had no effect is unknown for good; one that nobody reports about may stay as it was. */
function listStatuses(
  { channel }: MessageView,
  end: 'arrives' | 'fails' | 'none',
  effects: number,
): string[] {
  if (effects === 0) return ['unknown']
  if (end === 'none') return ['queued', 'unknown']
  if (end === 'fails') return ['failed']
  return [channel === 'whatsapp' ? 'read' : 'delivered']
}

async function judgeUnknown(
  verdict: Verdict,
  installation: Installation,
  { messages, healing }: Facts,
  effects: ReadonlyMap<string, number>,
): Promise<void> {
  const unknown = messages.filter(({ status }) => status === 'unknown').map(({ id }) => id)
  const unexplained: string[] = []
  for (const id of unknown) {
    const { attempts } = await readStory(installation, id)
    if (!attempts.some(({ outcome }) => outcome === 'unknown')) unexplained.push(id)
  }
  const healed = new Set(healing)
  const abandoned = unknown.filter((id) => !healed.has(id))
  count(verdict, 'unknown, with an effect', unknown.filter((id) => effects.get(id) === 1).length)
  count(verdict, 'unknown, without an effect', unknown.filter((id) => !effects.has(id)).length)
  forbid(verdict, 'unknown without an attempt that says so', unexplained)
  forbid(verdict, 'unknown that nobody looks after', abandoned)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
