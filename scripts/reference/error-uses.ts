import {
  findClosing,
  isMark,
  isWord,
  readTokens,
  type SourceFile,
  type Token,
} from '../../server/testing/architecture/source-file.ts'

export interface ErrorUse {
  code: string
  /** Undefined: the framework chooses, of 400 to 499. */
  status: number | undefined
  /** `…` stands for what is filled in. */
  message: string
}

type Tokens = readonly Token[]
/** What names stand for: constants, and parameters of a maker at one of its calls. */
type Bindings = ReadonlyMap<string, Tokens>

/** A function that makes an error of its parameters, such as `notFound(noun, id)`. */
interface ErrorMaker {
  path: string
  name: string
  isExported: boolean
  parameters: string[]
  arguments: Tokens[]
}

interface Parsed {
  path: string
  tokens: Tokens
  /** Those of the file itself and those that any file exports. */
  constants: Bindings
}

/**
 * Every PipeError that the files can throw: `new PipeError(…)`, calls of functions that make one of their
 * parameters, and rows of tables with `code`, `status` and `message`.
 * @throws Error naming the places whose code can't be read from the text
 */
export function findErrors(files: readonly SourceFile[]): ErrorUse[] {
  const parsed = parseFiles(files)
  const makers: ErrorMaker[] = []
  const uses: ErrorUse[] = parsed.flatMap(({ tokens }) => readTables(tokens))
  const unclear: string[] = []
  for (const file of parsed) {
    for (const at of findCalls(file.tokens, 'PipeError')) {
      if (!isWord(file.tokens[at - 1], 'new')) continue
      const given = splitArguments(file.tokens, at + 1)
      const maker = findMaker(file, at, given)
      const use = readUse(given, file.constants)
      if (maker !== undefined) makers.push(maker)
      else if (use !== undefined) uses.push(use)
      else if (!comesFromTable(given)) unclear.push(`${file.path}:${file.tokens[at]?.line}`)
    }
  }
  if (unclear.length > 0) throw new Error(`Write the codes of these errors literally: ${unclear.join(', ')}`)
  const calls = parsed.flatMap((file) => makers.flatMap((maker) => readMakerCalls(file, maker)))
  return [...uses, ...calls]
}

function parseFiles(files: readonly SourceFile[]): Parsed[] {
  const read = files.map(({ path, text }) => ({ path, tokens: readTokens(text) }))
  const exported = read.flatMap(({ tokens }) => listConstants(tokens, 'export'))
  return read.map((file) => ({ ...file, constants: new Map([...exported, ...listConstants(file.tokens)]) }))
}

function readMakerCalls(file: Parsed, maker: ErrorMaker): ErrorUse[] {
  if (file.path !== maker.path && !maker.isExported) return []
  return findCalls(file.tokens, maker.name)
    .filter((at) => !isWord(file.tokens[at - 1], 'function'))
    .flatMap((at) => {
      const given = splitArguments(file.tokens, at + 1)
      const bound = maker.parameters.map((name, index): [string, Tokens] => [name, given[index] ?? []])
      return readUse(maker.arguments, new Map([...file.constants, ...bound])) ?? []
    })
}

/** Positions of a name that is called. */
function findCalls(tokens: Tokens, name: string): number[] {
  return tokens.flatMap((token, index) =>
    isWord(token, name) && isMark(tokens[index + 1], '(') ? [index] : [],
  )
}

function splitArguments(tokens: Tokens, opener: number): Tokens[] {
  const end = findClosing(tokens, opener)
  const parts: Token[][] = [[]]
  let depth = 0
  for (const token of tokens.slice(opener + 1, end)) {
    if (token.kind === 'mark' && '([{'.includes(token.value)) depth += 1
    if (token.kind === 'mark' && ')]}'.includes(token.value)) depth -= 1
    if (depth === 0 && isMark(token, ',')) parts.push([])
    else parts.at(-1)?.push(token)
  }
  return parts
}

function readUse(given: readonly Tokens[], bindings: Bindings): ErrorUse | undefined {
  const [code = [], status = [], message = []] = given
  const name = readText(code, bindings)
  if (name === undefined || name.includes('…')) return undefined
  const number = status.length === 1 && status[0]?.kind === 'number' ? Number(status[0].value) : undefined
  return { code: name, status: number, message: readText(message, bindings) ?? '`detail` says why.' }
}

/** The text of a literal, a template or a bound name; of a choice, all of its texts. */
function readText(expression: Tokens, bindings: Bindings): string | undefined {
  const [first] = expression
  if (first?.kind === 'template') return fillTemplate(first, bindings)
  if (first?.kind === 'text') return first.value
  const bound = expression.length === 1 ? bindings.get(first?.value ?? '') : undefined
  // Bound names are literals or templates of another place, whose names mean nothing here.
  if (bound !== undefined) return readText(bound, new Map())
  const choices = expression.filter(({ kind }, index) => {
    const isChosen = isMark(expression[index - 1], '?') || isMark(expression[index - 1], ':')
    return isChosen && (kind === 'text' || kind === 'template')
  })
  return choices.length > 0 ? choices.map(({ value }) => value).join('\n') : undefined
}

function fillTemplate(template: Token, bindings: Bindings): string {
  const parts = template.value.split('…')
  return parts.reduce((text, part, index) => {
    const hole = template.holes?.[index - 1] ?? []
    const isWorkedOn = isMark(hole[1], '.') && isWord(hole[2], 'replaceAll')
    const bound = hole.length === 1 || isWorkedOn ? bindings.get(hole[0]?.value ?? '') : undefined
    const filling = bound === undefined ? undefined : readText(bound, new Map())
    // A name in `noun.replaceAll('_', ' ')` is made readable.
    const shown = isWorkedOn ? filling?.replaceAll('_', ' ') : filling
    return `${text}${shown ?? '…'}${part}`
  })
}

/** Those whose value is a text; with a word before `const`, only those that have it. */
function listConstants(tokens: Tokens, before?: string): Array<[string, Tokens]> {
  return tokens.flatMap((token, index) => {
    const [name, equals, value] = tokens.slice(index + 1, index + 4)
    const isText = value?.kind === 'text' || value?.kind === 'template'
    const isWanted = before === undefined || isWord(tokens[index - 1], before)
    const isConstant = isWord(token, 'const') && isMark(equals, '=') && isText && isWanted
    return isConstant && name !== undefined ? [[name.value, [value]]] : []
  })
}

/** The function around an error whose code or message are its parameters. */
function findMaker(file: Parsed, at: number, given: Tokens[]): ErrorMaker | undefined {
  const { path, tokens } = file
  const start = tokens.findLastIndex((token, index) => index < at && isWord(token, 'function'))
  if (start === -1) return undefined
  const parameters = splitArguments(tokens, start + 2).map((parameter) => parameter[0]?.value ?? '')
  const [code = [], , message = []] = given
  const named = [...code, ...(message.length === 1 ? message : [])].map(({ value }) => value)
  const usesOne = parameters.some((parameter) => named.includes(parameter))
  const name = tokens[start + 1]?.value ?? ''
  return usesOne
    ? { path, name, isExported: isWord(tokens[start - 1], 'export'), parameters, arguments: given }
    : undefined
}

/** `known.code`, `known.status`: such rows are read where they are written. */
function comesFromTable(given: readonly Tokens[]): boolean {
  return isWord(given[0]?.at(-1), 'code') && isMark(given[0]?.at(-2), '.')
}

function readTables(tokens: Tokens): ErrorUse[] {
  return tokens.flatMap((token, index) => {
    const [code, status, message] = [tokens[index + 2], tokens[index + 6], tokens[index + 10]]
    const isRow =
      isWord(token, 'code') &&
      isWord(tokens[index + 4], 'status') &&
      isWord(tokens[index + 8], 'message') &&
      code?.kind === 'text' &&
      status?.kind === 'number'
    return isRow ? [{ code: code.value, status: Number(status.value), message: message?.value ?? '' }] : []
  })
}
