import {
  findClosing,
  isMark,
  isTestCode,
  isWord,
  readTokens,
  type SourceFile,
  type Token,
} from './source-file.ts'

export interface TableException {
  module: string
  table: string
  reason: string
}

/** Only the module that owns a table names it in SQL or in a query; others ask that module. */
export function tablesHaveOneOwner(
  files: readonly SourceFile[],
  moduleNames: readonly string[],
  exceptions: readonly TableException[],
): string[] {
  const ownerOf = (path: string) =>
    ['core', ...moduleNames].find((name) => path.startsWith(`server/${name}/`)) ?? 'server'
  const owners = new Map<string, string>()
  const faults: string[] = []
  for (const file of files) {
    for (const table of listOwnTables(file)) {
      const owner = owners.get(table) ?? ownerOf(file.path)
      owners.set(table, owner)
      if (owner !== ownerOf(file.path)) faults.push(`${file.path} declares ${table}, which ${owner} owns`)
    }
  }
  for (const file of files.filter(({ path }) => path.startsWith('server/') && !isTestCode(path))) {
    const module = ownerOf(file.path)
    for (const { table, line } of listMentions(file)) {
      const owner = owners.get(table)
      if (owner === undefined || owner === module) continue
      if (exceptions.some((exception) => exception.module === module && exception.table === table)) continue
      faults.push(`${file.path}:${line} names the table ${table}, which ${owner} owns`)
    }
  }
  return faults
}

/** From the `…Tables` interfaces of `tables.ts` and from `create table` in migrations. */
function listOwnTables({ path, text }: SourceFile): string[] {
  if (path.endsWith('.sql'))
    return matchNames(text, /\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?([\w."]+)/gi)
  if (!path.endsWith('/tables.ts')) return []
  const tokens = readTokens(text)
  const start = tokens.findIndex(
    (token, index) => isWord(token, 'interface') && /.Tables$/.test(tokens[index + 1]?.value ?? ''),
  )
  return start === -1 ? [] : listKeys(tokens, start + 2)
}

/** The keys of the object type whose brace is at `brace`. */
function listKeys(tokens: readonly Token[], brace: number): string[] {
  const end = findClosing(tokens, brace)
  const keys: string[] = []
  for (let index = brace + 1; index < end; index += 1) {
    const token = tokens[index]
    if (token?.kind === 'word' && isMark(tokens[index + 1], ':')) keys.push(token.value)
    if (isMark(token, '{')) index = findClosing(tokens, index)
  }
  return keys
}

interface Mention {
  table: string
  line: number
}

const queryMethod =
  /^(selectFrom|insertInto|updateTable|deleteFrom|mergeInto|replaceInto|from|using|(inner|left|right|full|cross)Join(Lateral)?)$/
const statement =
  /^\s*(select|insert|update|delete|with|merge|lock|truncate|vacuum|analyze|copy|alter|drop)\b/i
const tableInSql =
  /\b(?:from|join|into|update|table|truncate|vacuum|analyze|using)\s+(?:only\s+)?(?:if\s+exists\s+)?([\w."]+)/gi

function listMentions({ path, text }: SourceFile): Mention[] {
  if (path.endsWith('.sql')) return listMentionsInSql(withoutSqlComments(text), 1)
  if (!path.endsWith('.ts')) return []
  const tokens = readTokens(text)
  return tokens.flatMap((token, index) => {
    if (token.kind !== 'text' && token.kind !== 'template') return []
    const isTagged = isWord(tokens[index - 1], 'sql') || isMark(tokens[index - 1], '>')
    if (isTagged || statement.test(token.value)) return listMentionsInSql(token.value, token.line)
    const opener = isMark(tokens[index - 1], '[') ? index - 2 : index - 1
    const isQuery = isMark(tokens[opener], '(') && queryMethod.test(tokens[opener - 1]?.value ?? '')
    return isQuery ? [{ table: bareName(token.value.split(' ')[0] ?? ''), line: token.line }] : []
  })
}

function listMentionsInSql(text: string, firstLine: number): Mention[] {
  return [...text.matchAll(tableInSql)].map((match) => ({
    table: bareName(match[1] ?? ''),
    line: firstLine + text.slice(0, match.index).split('\n').length - 1,
  }))
}

function matchNames(text: string, pattern: RegExp): string[] {
  return [...withoutSqlComments(text).matchAll(pattern)].map((match) => bareName(match[1] ?? ''))
}

function withoutSqlComments(text: string): string {
  return text.replaceAll(/--.*$/gm, '')
}

/** `pipecore."events"` → `events` */
function bareName(name: string): string {
  return name.replaceAll('"', '').split('.').at(-1) ?? ''
}
