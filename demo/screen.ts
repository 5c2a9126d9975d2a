const columns = { product: 10, channel: 9, provider: 11, text: 31 }
const margin = '  '
const gap = '  '

/** One line of the timeline, which grows while things happen. */
export interface Row {
  /** `✓ delivered` */
  tick(label: string): void
  /** `✗ Twilio`: refused, as it should be. */
  refuse(label: string): void
  /** `· sent`: neither good nor bad. */
  skip(label: string): void
  /** As is, for instance one letter of a stream. */
  add(text: string): void
  end(): void
}

interface RowStart {
  product: string
  channel?: string
  provider?: string
  arrow?: '→' | '←' | '·'
  text: string
}

interface Table {
  head: readonly string[]
  rows: ReadonlyArray<readonly string[]>
  /** Columns of numbers, which stand on the right. */
  numbers: readonly number[]
}

export interface Screen {
  chapter(title: string, about: string): void
  row(start: RowStart): Row
  table(table: Table): void
  success(title: string, about: string): void
  failure(title: string, details: ReadonlyArray<readonly [string, string]>): void
  /** Writes the last words: nothing comes after them. */
  close(words?: string): void
  paint(name: string, text: string): string
}

const colours: Readonly<Record<string, number>> = {
  dim: 245,
  tick: 71,
  refuse: 179,
  failure: 167,
  TableFlow: 173,
  Genda: 74,
  ROE: 140,
  Resend: 180,
  SendGrid: 73,
}

/** Writes a timeline to standard output: colour on a terminal or with FORCE_COLOR, never with NO_COLOR. */
export function createScreen(): Screen {
  const startedAt = performance.now()
  const colourful = isColourful()
  const style = (codes: string, text: string) => (colourful ? `\u001b[${codes}m${text}\u001b[0m` : text)
  const bold = (text: string) => style('1', text)
  const paint = (name: string, text: string) => {
    const colour = colours[name]
    return colour === undefined ? text : style(`38;5;${colour}`, text)
  }
  const clock = () => `${((performance.now() - startedAt) / 1000).toFixed(2)} s`
  let isClosed = false
  const write = (text: string) => {
    if (!isClosed) process.stdout.write(text)
  }
  let isRowOpen = false
  const endRow = () => {
    if (isRowOpen) write('\n')
    isRowOpen = false
  }
  const writeLine = (text = '') => {
    endRow()
    write(`${margin}${text}`.trimEnd() + '\n')
  }
  return {
    paint,
    chapter(title, about) {
      writeLine()
      writeLine(`${bold(title)}${gap}${paint('dim', about)}`)
    },
    row({ product, channel = '', provider = '', arrow = ' ', text }) {
      endRow()
      isRowOpen = true
      const who = paint(product, fit(product, columns.product))
      const where = `${fit(channel, columns.channel)} ${fit(provider, columns.provider)}`
      write(`${margin}${paint('dim', clock().padStart(8))}${gap}${who} ${where} ${paint('dim', arrow)} `)
      write(fit(text, columns.text))
      return {
        tick: (label) => write(`${gap}${paint('tick', '✓')} ${label}`),
        refuse: (label) => write(`${gap}${paint('refuse', '✗')} ${label}`),
        skip: (label) => write(paint('dim', `${gap}· ${label}`)),
        add: write,
        end: endRow,
      }
    },
    table(table) {
      const [head = '', ...rows] = layOut(table)
      writeLine()
      writeLine(paint('dim', head))
      for (const row of rows) writeLine(row)
    },
    success(title, about) {
      writeLine()
      writeLine(`${paint('tick', '✓')} ${bold(title)}${gap}${about}, ${clock()}`)
      writeLine()
    },
    failure(title, details) {
      writeLine()
      writeLine(`${paint('failure', '✗')} ${bold(title)}`)
      for (const [label, detail] of details) writeLine(`${paint('dim', label.padEnd(10))}${detail}`)
      writeLine()
    },
    close(words) {
      if (words !== undefined) writeLine(words)
      isClosed = true
    },
  }
}

function isColourful(): boolean {
  if (process.env.NO_COLOR) return false
  const forced = process.env.FORCE_COLOR
  return forced === undefined || forced === '' ? process.stdout.isTTY : forced !== '0'
}

/** Exactly so many characters; what the demo writes are characters of one code unit and one column. */
function fit(text: string, length: number): string {
  return text.length <= length ? text.padEnd(length) : `${text.slice(0, length - 1)}…`
}

function layOut({ head, rows, numbers }: Table): string[] {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((cells) => (cells[column] ?? '').length)))
  return lines.map((cells) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return numbers.includes(column) ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('   '),
  )
}
