const columns = { product: 10, channel: 9, provider: 9, text: 31 }
const margin = '  '
const width = 108

type Paint = (text: string) => string

/** One line of the timeline, which grows while things happen. */
export interface Row {
  /** `✓ delivered` */
  tick(label: string): void
  /** `✗ 401`: refused, as it should be. */
  refuse(label: string): void
  /** As is, for instance one letter of a stream. */
  add(text: string): void
  end(): void
}

export interface RowStart {
  product?: string
  channel?: string
  provider?: string
  arrow?: '→' | '←' | '·'
  text: string
}

export interface Table {
  head: readonly string[]
  rows: ReadonlyArray<readonly string[]>
  /** Columns of numbers stand on the right. */
  right: readonly number[]
}

export interface Screen {
  title(text: string, about: string): void
  chapter(text: string, about: string): void
  row(start: RowStart): Row
  table(table: Table): void
  success(text: string): void
  failure(text: string, details: ReadonlyArray<readonly [string, string]>): void
  note(text: string): void
  paint(name: string, text: string): string
}

const colours: Readonly<Record<string, number>> = {
  tick: 71,
  refuse: 167,
  TableFlow: 173,
  Genda: 74,
  ROE: 140,
  Resend: 180,
  SendGrid: 74,
}

/** Writes a timeline to standard output: colour on a terminal or with FORCE_COLOR, never with NO_COLOR. */
export function createScreen(): Screen {
  const startedAt = performance.now()
  const write = (text: string) => void process.stdout.write(text)
  const { bold, dim, paint } = createPaints(isColourful())
  let isRowOpen = false
  const closeRow = () => {
    if (isRowOpen) write('\n')
    isRowOpen = false
  }
  const clock = () => `${((performance.now() - startedAt) / 1000).toFixed(2)} s`.padStart(8)
  const line = (text: string) => {
    closeRow()
    write(`${margin}${text}`.trimEnd() + '\n')
  }
  return {
    title: (text, about) => line(`\n${margin}${bold(text)}  ${dim(about)}`.trimStart()),
    chapter(text, about) {
      line('')
      line(`${bold(text)}  ${dim(about)}`)
      line(dim('─'.repeat(width)))
    },
    row({ product = '', channel = '', provider = '', arrow = ' ', text }) {
      closeRow()
      isRowOpen = true
      const who = paint(product, fit(product, columns.product))
      const where = `${fit(channel, columns.channel)} ${fit(provider, columns.provider)}`
      write(`${margin}${dim(clock())}  ${who} ${where} ${dim(arrow)} ${fit(text, columns.text)}`)
      return {
        tick: (label) => write(` ${paint('tick', '✓')} ${label}`),
        refuse: (label) => write(` ${paint('refuse', '✗')} ${label}`),
        add: write,
        end: closeRow,
      }
    },
    table(table) {
      for (const [index, text] of layOut(table).entries()) line(index === 0 ? dim(text) : text)
    },
    success: (text) =>
      line(`\n${margin}${paint('tick', '✓')} ${bold(text)}  ${dim(clock().trim())}\n`.trimStart()),
    failure(text, details) {
      line('')
      line(`${paint('refuse', '✗')} ${bold(text)}`)
      for (const [label, detail] of details) line(`${dim(label.padEnd(10))} ${detail}`)
    },
    note: (text) => line(dim(text)),
    paint,
  }
}

function isColourful(): boolean {
  if (process.env.NO_COLOR) return false
  const forced = process.env.FORCE_COLOR
  return forced === undefined || forced === '' ? process.stdout.isTTY : forced !== '0'
}

function createPaints(colourful: boolean): { bold: Paint; dim: Paint; paint: Screen['paint'] } {
  const wrap = (codes: string, text: string) =>
    colourful && text !== '' ? `\u001b[${codes}m${text}\u001b[0m` : text
  return {
    bold: (text) => wrap('1', text),
    dim: (text) => wrap('38;5;245', text),
    paint(name, text) {
      const colour = colours[name]
      return colour === undefined ? text : wrap(`38;5;${colour}`, text)
    },
  }
}

/** Exactly so many characters; what the demo writes are characters of one code unit and one column. */
function fit(text: string, length: number): string {
  return text.length <= length ? text.padEnd(length) : `${text.slice(0, length - 1)}…`
}

function layOut({ head, rows, right }: Table): string[] {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => (cells[column] ?? '').length)))
  return lines.map((cells) =>
    cells
      .map((cell, column) => {
        const space = widths[column] ?? 0
        return right.includes(column) ? cell.padStart(space) : cell.padEnd(space)
      })
      .join('   '),
  )
}
