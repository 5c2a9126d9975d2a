import type pg from 'pg'
import { isPooled, type Send } from './connection-answers.ts'
import { systemErrorCode } from './system-error.ts'

/** Seldom asked, a statement costs the server more memory than its plan saves. */
const timesBefore = 30
const withinMs = 60_000
const mostPrepared = 100
const mostCounted = 2_000
/** Longer ones list rows, so that each number of them is another text. */
const longestText = 10_000

export interface StatementNames {
  /** Undefined for those that are sent as they are. */
  nameOf: (text: string) => string | undefined
  /** Has it sent as it is from now on. */
  giveUp: (text: string) => void
}

/** Names for the statements that a process asks often: the server then parses and plans each once per connection. */
export function createStatementNames(nowMs = () => performance.now()): StatementNames {
  const names = new Map<string, string | undefined>()
  const counts = new Map<string, number>()
  let countedSince = nowMs()
  function nameOf(text: string): string | undefined {
    if (names.has(text) || names.size === mostPrepared) return names.get(text)
    if (text.length > longestText) return undefined
    if (counts.size === mostCounted || nowMs() - countedSince > withinMs) {
      counts.clear()
      countedSince = nowMs()
    }
    const count = (counts.get(text) ?? 0) + 1
    counts.set(text, count)
    if (count < timesBefore || hasWholeRows(text)) return undefined
    counts.delete(text)
    const name = `pipecore_${names.size}`
    names.set(text, name)
    return name
  }
  return { nameOf, giveUp: (text) => void names.set(text, undefined) }
}

/** A release that adds a column would break them for processes of the one before. Arrays have those of their statement. */
function hasWholeRows(text: string): boolean {
  return /\* from (?!unnest\()|\.\*|returning \*/.test(text)
}

/** The result has other types since a migration; the server has none of this name; or has one already. */
const uselessCodes = ['0A000', '26000', '42P05']

const statementNames = createStatementNames()
const preparing = new WeakSet<pg.ClientBase>()

/** The name that a statement has on a connection, if it is prepared there. */
export function nameOn(client: pg.ClientBase, text: string): string | undefined {
  return preparing.has(client) ? statementNames.nameOf(text) : undefined
}

/** A statement that fails for its name would fail on its connection for ever. @returns whether it did */
export function giveUpName(text: string, error: unknown): boolean {
  const isUseless = uselessCodes.includes(systemErrorCode(error) ?? '')
  if (isUseless) statementNames.giveUp(text)
  return isUseless
}

/**
 * Has a new connection prepare what is asked often, unless it is pooled: what was prepared at one server would be
 * missing at another.
 * @returns whether it does
 */
export async function prepareOften(client: pg.ClientBase): Promise<boolean> {
  if (await isPooled(client)) return false
  preparing.add(client)
  const send = client.query.bind(client) as Send
  const query: Send = (...asked) => {
    const [text, values] = asked
    // Only what kysely asks is named: a text with values, whose answer is a promise.
    const isNameable = asked.length === 2 && typeof text === 'string' && Array.isArray(values)
    const name = isNameable ? nameOn(client, text) : undefined
    if (name === undefined) return send(...asked)
    const answer: Promise<unknown> = send({ name, text, values })
    answer.catch((error: unknown) => giveUpName(text as string, error))
    return answer as never
  }
  client.query = query
  return true
}
