import { fileURLToPath } from 'node:url'
import { isTestCode, readSourceFiles } from '../../server/testing/architecture/source-file.ts'
import { type ErrorUse, findErrors } from './error-uses.ts'
import { code, generatedNote, page, table } from './markdown.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export async function writeErrors(): Promise<string> {
  const files = await readSourceFiles(root, ['server'], ['.ts'])
  const uses = findErrors(files.filter(({ path }) => !isTestCode(path)))
  return page(
    '# Errors',
    generatedNote,
    'Every error answer is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem: `code` is one of these and stable, `detail` says what is wrong and what to do, `errors` names every wrong field, and `request_id` finds the request in the log. `…` stands for what a message fills in.',
    '## Answers to a request',
    listErrors(uses.filter(({ status = 400 }) => status < 500)),
    '## Failures of the server or its start',
    listErrors(uses.filter(({ status = 400 }) => status >= 500)),
  )
}

function listErrors(uses: readonly ErrorUse[]): string {
  const messages = new Map<string, Set<string>>()
  for (const use of uses) {
    const key = `${use.code} ${use.status ?? '4xx'}`
    messages.set(key, (messages.get(key) ?? new Set()).add(use.message))
  }
  const rows = [...messages].toSorted(([left], [right]) => (left < right ? -1 : 1))
  return table(
    ['Code', 'Status', 'Meaning'],
    rows.map(([key, texts]) => {
      const [name = '', status = ''] = key.split(' ')
      return [code(name), status, [...texts].toSorted().join('\n')]
    }),
  )
}
