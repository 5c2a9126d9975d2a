import type { Facts } from './facts.ts'
import { countEffects } from './judge-messages.ts'
import type { Written } from './traffic.ts'
import { count, forbid, groupBy, type Verdict } from './verdict.ts'

/** What customers and providers sent came in once each, and was answered once where a rule says so. */
export function judgeInbound(verdict: Verdict, facts: Facts, written: readonly Written[]): void {
  const received = findReceived(facts, written)
  const countReceived = ({ planned }: Written) => received.get(planned.text)?.length ?? 0
  const wrong = written.filter((one) => countReceived(one) !== 1)
  count(verdict, 'customers wrote', written.length)
  forbid(verdict, 'not recorded exactly once', wrong, (one) => `${one.planned.text} ${countReceived(one)}×`)
  judgeReplies(verdict, facts, written, received)
  const { callbacks } = facts
  const repeated = callbacks.filter(({ attempts }) => attempts.length > 1)
  const unanswered = callbacks.filter(({ state }) => state !== 'delivered')
  count(verdict, 'callbacks', callbacks.length)
  count(verdict, 'callbacks that providers repeated', repeated.length)
  forbid(verdict, 'callbacks never answered 2xx', unanswered, ({ provider, state }) => `${provider} ${state}`)
}

/** Ids of the messages recorded for a text that a customer wrote. */
function findReceived(facts: Facts, written: readonly Written[]): Map<string, string[]> {
  const texts = new Set(written.map(({ planned }) => planned.text))
  const found = facts.events.flatMap(({ type, entity, body }) => {
    if (type !== 'message.received') return []
    const text = (JSON.parse(body) as { text: string | null }).text?.trim() ?? ''
    return texts.has(text) ? [{ text, entity }] : []
  })
  const groups = groupBy(found, ({ text }) => text)
  return new Map([...groups].map(([text, same]) => [text, same.map(({ entity }) => entity)]))
}

function judgeReplies(
  verdict: Verdict,
  facts: Facts,
  written: readonly Written[],
  received: ReadonlyMap<string, string[]>,
): void {
  const replies = facts.messages.filter(({ auto_reply: reply }) => reply !== null)
  const byQuestion = groupBy(replies, ({ reference }) => reference)
  const effects = countEffects(facts)
  count(verdict, 'automatic replies', replies.length)
  count(verdict, 'automatic replies with an effect', replies.filter(({ id }) => effects.has(id)).length)
  const wrong = written.flatMap(({ planned }) => {
    const made = (received.get(planned.text) ?? []).flatMap((id) => byQuestion.get(id) ?? [])
    return made.length === (planned.isAnswered ? 1 : 0) ? [] : [`${planned.text} ${made.length}×`]
  })
  forbid(verdict, 'questions not answered exactly once', wrong)
}
