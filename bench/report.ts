/** One figure that has a goal. */
export interface Figure {
  what: string
  value: string
  goal: string
  isMet: boolean
}

export interface Table {
  header: readonly string[]
  rows: ReadonlyArray<readonly string[]>
}

/** What one part of the bench found. */
export interface Report {
  /** How it was measured. */
  method: readonly string[]
  tables: readonly Table[]
  figures: readonly Figure[]
  /** What could not run, and why. */
  missing: readonly string[]
}

export function atLeast(what: string, value: number, goal: number, unit: string, digits = 2): Figure {
  return { what, value: write(value, unit, digits), goal: `≥ ${goal} ${unit}`, isMet: value >= goal }
}

export function atMost(what: string, value: number, goal: number, unit: string, digits = 1): Figure {
  return { what, value: write(value, unit, digits), goal: `≤ ${goal} ${unit}`, isMet: value <= goal }
}

function write(value: number, unit: string, digits: number): string {
  return Number.isNaN(value) ? 'not measured' : `${value.toFixed(digits)} ${unit}`
}

export function writeReport(name: string, { method, tables, figures, missing }: Report): string {
  const parts = [`## ${name}`, ...method, ...tables.map(writeTable), ...missing.map(writeMissing)]
  if (figures.length > 0) parts.push(writeFigures(figures))
  return `${parts.join('\n\n')}\n`
}

export function writeFigures(figures: readonly Figure[]): string {
  const rows = figures.map(({ what, value, goal, isMet }) => [what, value, goal, isMet ? 'yes' : '**no**'])
  return writeTable({ header: ['figure', 'measured', 'goal', 'met'], rows })
}

function writeMissing(line: string): string {
  return `**Could not run:** ${line}`
}

function writeTable({ header, rows }: Table): string {
  const lines = [header, header.map(() => '---'), ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
