import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { computeLineStarts, createScanner, SyntaxKind } from 'typescript/unstable/ast'

export interface SourceFile {
  /** From the repository's root, with `/`. */
  path: string
  text: string
}

export interface Token {
  /** `text`: a string literal. `template`: a whole template literal, the tokens of its `${…}` follow it. */
  kind: 'word' | 'text' | 'template' | 'number' | 'pattern' | 'mark'
  /** Without quotes; `…` stands for what a template fills in. */
  value: string
  line: number
  /** What a template fills in, in order. */
  holes?: Token[][]
}

/** Every file with one of the endings in these folders of the repository, sorted by path. */
export async function readSourceFiles(
  root: string,
  folders: readonly string[],
  endings: readonly string[],
): Promise<SourceFile[]> {
  const paths: string[] = []
  for (const folder of folders) {
    const entries = await readdir(join(root, folder), { recursive: true }).catch(() => [])
    for (const entry of entries) paths.push(`${folder}/${entry.replaceAll('\\', '/')}`)
  }
  const wanted = paths.filter((path) => endings.some((ending) => path.endsWith(ending))).toSorted()
  return Promise.all(wanted.map(async (path) => ({ path, text: await readFile(join(root, path), 'utf8') })))
}

/** The tokens of a TypeScript file as TypeScript's own scanner sees them; comments are none. */
export function readTokens(text: string): Token[] {
  const scanner = createScanner(true)
  scanner.setText(text)
  const lineStarts = computeLineStarts(text)
  const tokens: Token[] = []
  /** What a closing brace closes, innermost last: a block, or the `${` of a template before token `start`. */
  const open: Array<{ template: Token; start: number } | undefined> = []
  let line = 1
  for (;;) {
    let kind = scanner.scan()
    if (kind === SyntaxKind.EndOfFile) return tokens
    while ((lineStarts[line] ?? Infinity) <= scanner.getTokenStart()) line += 1
    if (isSlash(kind) && !endsExpression(tokens.at(-1))) kind = scanner.reScanSlashToken()
    if (kind === SyntaxKind.CloseBraceToken) {
      const hole = open.pop()
      if (hole !== undefined) {
        const part = scanner.reScanTemplateToken(false)
        hole.template.value += `…${scanner.getTokenValue()}`
        hole.template.holes?.push(tokens.slice(hole.start))
        if (part === SyntaxKind.TemplateMiddle) open.push({ ...hole, start: tokens.length })
        continue
      }
    }
    const token: Token = { kind: kindOf(kind), value: '', line }
    token.value = token.kind === 'mark' ? scanner.getTokenText() : scanner.getTokenValue()
    tokens.push(token)
    if (kind === SyntaxKind.OpenBraceToken) open.push(undefined)
    if (kind === SyntaxKind.TemplateHead) {
      token.holes = []
      open.push({ template: token, start: tokens.length })
    }
  }
}

function isSlash(kind: SyntaxKind): boolean {
  return kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken
}

const beforePattern = new Set(['return', 'typeof', 'case', 'in', 'of', 'await', 'yield', 'void', 'else'])

/** After an expression a slash divides; anywhere else it opens a regular expression. */
function endsExpression(last: Token | undefined): boolean {
  if (last === undefined) return false
  if (last.kind === 'mark') return [')', ']', '}'].includes(last.value)
  return last.kind !== 'word' || !beforePattern.has(last.value)
}

function kindOf(kind: SyntaxKind): Token['kind'] {
  if (kind === SyntaxKind.StringLiteral) return 'text'
  if (kind === SyntaxKind.NoSubstitutionTemplateLiteral || kind === SyntaxKind.TemplateHead) return 'template'
  if (kind === SyntaxKind.NumericLiteral || kind === SyntaxKind.BigIntLiteral) return 'number'
  if (kind === SyntaxKind.RegularExpressionLiteral) return 'pattern'
  return kind >= SyntaxKind.Identifier ? 'word' : 'mark'
}

const closers: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' }

/** Position of the bracket that closes the one at `start`. */
export function findClosing(tokens: readonly Token[], start: number): number {
  const opener = tokens[start]?.value ?? ''
  let depth = 0
  for (let index = start; index < tokens.length; index += 1) {
    const token = tokens[index]
    if (token?.kind !== 'mark') continue
    if (token.value === opener) depth += 1
    if (token.value === closers[opener]) depth -= 1
    if (depth === 0) return index
  }
  return tokens.length
}

export function isMark(token: Token | undefined, value: string): boolean {
  return token?.kind === 'mark' && token.value === value
}

export function isWord(token: Token | undefined, ...values: string[]): boolean {
  return token?.kind === 'word' && values.includes(token.value)
}

/** Code that only tests run. */
export function isTestCode(path: string): boolean {
  return /\.test\.ts$|\/testing\.ts$|\/testing\/|\/conformance\.ts$/.test(path)
}
