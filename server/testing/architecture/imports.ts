import { posix } from 'node:path'
import {
  findClosing,
  isMark,
  isTestCode,
  isWord,
  readTokens,
  type SourceFile,
  type Token,
} from './source-file.ts'

export interface ModuleFacts {
  name: string
  needs: readonly string[]
}

interface Import {
  specifier: string
  line: number
}

/** What `import`, `import type`, `export … from` and `import()` name. */
export function listImports(text: string): Import[] {
  const tokens = readTokens(text)
  return tokens.flatMap((token, index) => {
    if (isMark(tokens[index - 1], '.')) return []
    const source = isWord(token, 'import')
      ? sourceOfImport(tokens, index + 1)
      : isWord(token, 'export')
        ? sourceOfExport(tokens, index + 1)
        : undefined
    return source === undefined ? [] : [{ specifier: source.value, line: source.line }]
  })
}

function sourceOfImport(tokens: readonly Token[], start: number): Token | undefined {
  const first = tokens[start]
  if (isMark(first, '.')) return undefined
  if (isMark(first, '(')) return literal(tokens[start + 1])
  if (first?.kind === 'text') return first
  const from = tokens.findIndex(
    (token, index) => index >= start && isWord(token, 'from') && literal(tokens[index + 1]),
  )
  return from === -1 ? undefined : tokens[from + 1]
}

function sourceOfExport(tokens: readonly Token[], start: number): Token | undefined {
  const list = isWord(tokens[start], 'type') ? start + 1 : start
  let from = list
  if (isMark(tokens[list], '{')) from = findClosing(tokens, list) + 1
  else if (isMark(tokens[list], '*')) from = isWord(tokens[list + 1], 'as') ? list + 3 : list + 1
  else return undefined
  return isWord(tokens[from], 'from') ? literal(tokens[from + 1]) : undefined
}

function literal(token: Token | undefined): Token | undefined {
  return token?.kind === 'text' || token?.kind === 'template' ? token : undefined
}

/** The path from the root, or `#name` for a module's public face; undefined for a package. */
function resolveSpecifier(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('#core/')) return `server/core/${specifier.slice('#core/'.length)}`
  if (specifier.startsWith('#')) return specifier
  return specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : undefined
}

/** A module needs only modules above it. */
export function needsPointUpwards(modules: readonly ModuleFacts[]): string[] {
  return modules.flatMap((module, index) =>
    module.needs
      .filter((need) => !modules.slice(0, index).some((above) => above.name === need))
      .map((need) => `module ${module.name} needs ${need}, which is not above it in modules.ts`),
  )
}

/** Modules meet only at their public faces, downwards in `modules.ts`; core knows none of them. */
export function importsFollowModules(
  files: readonly SourceFile[],
  modules: readonly ModuleFacts[],
): string[] {
  return files
    .filter((file) => file.path.startsWith('server/') && file.path.endsWith('.ts'))
    .flatMap((file) =>
      listImports(file.text).flatMap(({ specifier, line }) => {
        const target = resolveSpecifier(file.path, specifier)
        const fault = target === undefined ? undefined : findFault(file.path, target, modules)
        return fault === undefined ? [] : [`${file.path}:${line} imports ${specifier}: ${fault}`]
      }),
    )
}

function findFault(path: string, target: string, modules: readonly ModuleFacts[]): string | undefined {
  const place = placeOf(path, modules)
  if (place === undefined) return 'this folder is no module of modules.ts'
  if (target.startsWith('#')) return findFaceFault(place, target.slice(1), modules)
  if (!target.startsWith('server/')) {
    const mayUse = target.startsWith('sandbox/') && (place === 'testing' || path.endsWith('/conformance.ts'))
    return mayUse ? undefined : 'only server/testing and conformance.ts reach outside, and only into sandbox/'
  }
  if (isTestCode(target) && !isTestCode(path)) return 'only tests use test code'
  const targetPlace = placeOf(target, modules)
  if (targetPlace === place || targetPlace === 'core') return undefined
  if (place === 'core') return 'core knows no module'
  if (targetPlace === 'testing') return undefined
  if (targetPlace === 'root')
    return isTestCode(path) ? undefined : 'a module does not know the server around it'
  return `a file of another module; import it through #${targetPlace}`
}

function findFaceFault(place: string, name: string, modules: readonly ModuleFacts[]): string | undefined {
  if (!modules.some((module) => module.name === name)) return 'there is no such module'
  if (place === 'core') return 'core knows no module'
  if (place === 'root' || place === 'testing') return undefined
  if (place === name) return 'its own public face; import the file'
  const needs = modules.find((module) => module.name === place)?.needs ?? []
  return needs.includes(name) ? undefined : `${place} does not list ${name} in its needs`
}

/** A module's name, `core`, `testing`, or `root` for the files that put the server together. */
function placeOf(path: string, modules: readonly ModuleFacts[]): string | undefined {
  const inside = path.slice('server/'.length)
  if (!inside.includes('/')) return 'root'
  const places = ['core', 'testing', ...modules.map((module) => module.name)]
  return places.find((place) => inside.startsWith(`${place}/`))
}

/** What stands beside the server talks to it over HTTP only. */
export function outsidersKeepOut(files: readonly SourceFile[], folders: readonly string[]): string[] {
  return files
    .filter((file) => folders.some((folder) => file.path.startsWith(`${folder}/`)))
    .flatMap((file) =>
      listImports(file.text)
        .filter(({ specifier }) => /^(#|server\/)/.test(resolveSpecifier(file.path, specifier) ?? ''))
        .map(({ specifier, line }) => `${file.path}:${line} imports ${specifier}: it must not know server/`),
    )
}
