import pg from 'pg'
import { giveUpName, nameOn } from './prepared-statements.ts'
import { systemErrorCode } from './system-error.ts'

export interface Asked {
  text: string
  values: readonly unknown[]
}

/** What a transaction begins with: a `select` with texts as values, which has a name where it is prepared. */
export interface Opening extends Asked {
  name: string
}

const prepared = new WeakSet<pg.ClientBase>()

/** On a connection that may be in use. So they are prepared, and not carried out: it is some transaction's. */
export async function prepareOpenings(
  client: pg.ClientBase,
  openings: ReadonlyArray<Omit<Opening, 'values'>>,
): Promise<void> {
  await client.query(openings.map(({ name, text }) => `prepare ${name} as ${text}`).join(';'))
  prepared.add(client)
}

const unknownName = '26000'

/**
 * Asks one statement in a transaction of its own, behind its opening. To the server they are one transaction, since no
 * Sync comes between them: it commits that before it says, once, that it is ready. Should either fail, neither was.
 */
export function askBehind(client: pg.ClientBase, opening: Opening, { text, values }: Asked) {
  const isPrepared = prepared.has(client)
  // The driver would take an opening's parsing for that of a statement that has a name.
  const name = isPrepared ? nameOn(client, text) : undefined
  return new Promise<pg.QueryResult>((resolve, reject) => {
    const callback: Configuration['callback'] = (error, result) => {
      if (error === null) return resolve(result)
      giveUpName(text, error)
      if (systemErrorCode(error) === unknownName) prepared.delete(client)
      reject(error)
    }
    const configuration = { name, text, values, queryMode: 'extended' as const, callback }
    client.query(new OpenedStatement(configuration, opening, isPrepared))
  })
}

/** The driver's own class, of which its types tell too little. */
interface Statement extends pg.Submittable {
  prepare(wire: Wire): void
  handleDataRow(message: object): void
  handleCommandComplete(message: object, wire: Wire): void
}

interface Wire {
  parse(statement: { text: string }): void
  bind(portal: { statement?: string; values: readonly unknown[] }): void
  execute(portal: object): void
}

interface Configuration extends Asked {
  name: string | undefined
  queryMode: 'extended'
  callback: (error: Error | null, result: pg.QueryResult) => void
}
const Statement = pg.Query as unknown as new (configuration: Configuration) => Statement

class OpenedStatement extends Statement {
  private readonly opening: Opening
  private readonly isPrepared: boolean
  private isOpened = false

  constructor(configuration: Configuration, opening: Opening, isPrepared: boolean) {
    super(configuration)
    this.opening = opening
    this.isPrepared = isPrepared
  }

  override prepare(wire: Wire): void {
    const { name, text, values } = this.opening
    if (!this.isPrepared) wire.parse({ text })
    wire.bind({ ...(this.isPrepared && { statement: name }), values })
    wire.execute({})
    super.prepare(wire)
  }

  /** What the opening selects is nobody's. */
  override handleDataRow(message: object): void {
    if (this.isOpened) super.handleDataRow(message)
  }

  override handleCommandComplete(message: object, wire: Wire): void {
    if (this.isOpened) super.handleCommandComplete(message, wire)
    this.isOpened = true
  }
}
