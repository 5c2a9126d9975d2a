import {
  findClosing,
  isMark,
  isTestCode,
  isWord,
  readTokens,
  type SourceFile,
  type Token,
} from './source-file.ts'

const maxLines = 500
const maxFaceLines = 60

export function filesStaySmall(files: readonly SourceFile[]): string[] {
  return files
    .map((file) => ({ path: file.path, lines: countLines(file.text) }))
    .filter(({ lines }) => lines > maxLines)
    .map(({ path, lines }) => `${path} has ${lines} lines; ${maxLines} are allowed`)
}

function countLines(text: string): number {
  return text.replace(/\n$/, '').split('\n').length
}

const dumpingGround = /^(utils?|helpers?|commons?|shared|misc|libs?)$/

/** Names say what is inside, in kebab-case. */
export function namesSaySomething(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path }) =>
    path.split('/').flatMap((part) => {
      const [name = ''] = part.split('.')
      if (name.split('-').some((word) => dumpingGround.test(word))) return [`${path}: ${part} says nothing`]
      return /^[a-z0-9_]+(-[a-z0-9]+)*$/.test(name) ? [] : [`${path}: ${part} is not kebab-case`]
    }),
  )
}

/** Settings are read once, where a process starts. `PATH` handed to a child process is no setting. */
export function onlyEntryPointsReadTheEnvironment(files: readonly SourceFile[]): string[] {
  return findInServer(
    files.filter(({ path }) => path !== 'server/main.ts' && !isTestCode(path)),
    (tokens, index) =>
      isWord(tokens[index], 'process') &&
      isWord(tokens[index + 2], 'env') &&
      !isWord(tokens[index + 4], 'PATH'),
    'reads process.env; take it from the config',
  )
}

export function nothingPrintsToTheConsole(files: readonly SourceFile[]): string[] {
  return findInServer(
    files,
    (tokens, index) => isWord(tokens[index], 'console') && isMark(tokens[index + 1], '.'),
    'uses console; log through the context',
  )
}

/** V8 takes a function that is assigned to a property as it is written for a method: see decision 45. */
export function functionsAreNamedFirst(files: readonly SourceFile[]): string[] {
  return findInServer(
    files.filter(({ path }) => !isTestCode(path)),
    (tokens, index) => {
      const isAssigned = isAssignment(tokens[index - 1]) && isMark(tokens[index - 3], '.')
      return isAssigned && isFunction(tokens, isWord(tokens[index], 'async') ? index + 1 : index)
    },
    'assigns a function to a property; give it a name first',
  )
}

function isAssignment(token: Token | undefined): boolean {
  return ['=', '??=', '||=', '&&='].some((mark) => isMark(token, mark))
}

function isFunction(tokens: readonly Token[], index: number): boolean {
  if (isWord(tokens[index], 'function') || isMark(tokens[index + 1], '=>')) return true
  // Of type parameters.
  if (isMark(tokens[index], '<')) return true
  if (!isMark(tokens[index], '(')) return false
  const behind = tokens[findClosing(tokens, index) + 1]
  return isMark(behind, '=>') || isMark(behind, ':')
}

/** Everything outside `providers/` reads a provider's facts instead of asking which one it is. */
export function providersAreNamedAtHome(
  files: readonly SourceFile[],
  providerIds: readonly string[],
): string[] {
  const isProviderFile = (value: string) => providerIds.some((id) => value.endsWith(`providers/${id}.ts`))
  return findInServer(
    files.filter(({ path }) => !path.includes('/providers/') && !isTestCode(path)),
    (tokens, index) => {
      const { kind, value } = tokens[index] as Token
      return (
        (kind === 'text' || kind === 'template') && (providerIds.includes(value) || isProviderFile(value))
      )
    },
    'names one provider; only providers/ does',
  )
}

const routeMethods = ['get', 'post', 'put', 'patch', 'delete', 'head', 'options', 'all', 'route']

/** A forgotten scope must not open a path to everybody. */
export function routesNameTheirScope(files: readonly SourceFile[]): string[] {
  return findInServer(
    files,
    (tokens, index) => {
      const isRoute =
        isWord(tokens[index], 'app') &&
        isMark(tokens[index + 1], '.') &&
        isWord(tokens[index + 2], ...routeMethods) &&
        isMark(tokens[index + 3], '(')
      return isRoute && !namesScope(tokens, tokens.slice(index + 3, findClosing(tokens, index + 3)))
    },
    'is a route that names neither scope nor public',
  )
}

/** The route's `config` stands in the call, or as a constant of that name in the same file. */
function namesScope(file: readonly Token[], call: readonly Token[]): boolean {
  const at = call.findIndex((token, index) => isWord(token, 'config') && !isMark(call[index - 1], '.'))
  if (at === -1) return false
  const [tokens, brace] = isMark(call[at + 1], ':')
    ? [call, at + 2]
    : [file, findConstant(file, 'config') + 3]
  if (!isMark(tokens[brace], '{')) return false
  const inside = tokens.slice(brace, findClosing(tokens, brace))
  return inside.some((token, index) => isWord(token, 'scope', 'public') && isMark(inside[index + 1], ':'))
}

function findConstant(tokens: readonly Token[], name: string): number {
  return tokens.findIndex((token, index) => isWord(token, 'const') && isWord(tokens[index + 1], name))
}

/** A module's `index.ts` is its public face: short, and every name on it was chosen. */
export function modulesHaveAFace(files: readonly SourceFile[], moduleNames: readonly string[]): string[] {
  return moduleNames.flatMap((name) => {
    const path = `server/${name}/index.ts`
    const face = files.find((file) => file.path === path)
    if (face === undefined) return [`${path} is missing`]
    const lines = countLines(face.text)
    const tooLong = lines > maxFaceLines ? [`${path} has ${lines} lines; ${maxFaceLines} are allowed`] : []
    const tokens = readTokens(face.text)
    const wildcards = tokens.flatMap((token, index) => {
      const next = isWord(tokens[index + 1], 'type') ? tokens[index + 2] : tokens[index + 1]
      const isFault = isWord(token, 'export') && (isMark(next, '*') || isWord(next, 'default'))
      return isFault ? [`${path}:${token.line} exports without a name`] : []
    })
    return [...tooLong, ...wildcards]
  })
}

function findInServer(
  files: readonly SourceFile[],
  fits: (tokens: readonly Token[], index: number) => boolean,
  fault: string,
): string[] {
  return files
    .filter(({ path }) => path.startsWith('server/') && path.endsWith('.ts'))
    .flatMap(({ path, text }) => {
      const tokens = readTokens(text)
      return tokens.flatMap((token, index) => (fits(tokens, index) ? [`${path}:${token.line} ${fault}`] : []))
    })
}
