import { relative } from 'node:path'
import { spec } from 'node:test/reporters'
import type { TestEvent } from 'node:test/reporters'

const shown = new Set<TestEvent['type']>(['test:diagnostic', 'test:stdout', 'test:stderr', 'test:summary'])

/**
 * One line per file while the tests run, then node's own totals and its full account of what failed.
 * `node --test-reporter` takes only a default export.
 */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const writer = new spec()
  for await (const event of events) {
    writer.write(event)
    const text = writer.read() as Buffer | string | null
    if (shown.has(event.type) && text !== null) yield text.toString()
    if (event.type === 'test:summary' && event.data.file !== undefined) yield describeFile(event.data)
  }
}

function describeFile(data: Extract<TestEvent, { type: 'test:summary' }>['data']): string {
  const { counts, file = '', success } = data
  const path = relative(process.cwd(), file)
  const failed = counts.tests - counts.passed - counts.skipped - counts.todo
  const result = failed > 0 ? `${failed} of ${counts.tests} failed` : `${counts.tests}`
  return `${success ? '✔' : '✖'} ${path} (${result}, ${(data.duration_ms / 1000).toFixed(1)} s)\n`
}
