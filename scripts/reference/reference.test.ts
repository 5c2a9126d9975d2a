import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findErrors } from './error-uses.ts'
import { writeErrors } from './errors.ts'
import { exampleBody } from './event-example.ts'
import { writeEvents } from './events.ts'
import { writeOpenApi } from './openapi.ts'
import { writeProviders } from './providers.ts'
import { writeSettings } from './settings.ts'

describe('every page is the same whenever it is written', () => {
  for (const write of [writeErrors, writeEvents, writeOpenApi, writeProviders, writeSettings]) {
    test(write.name, async () => assert.equal(await write(), await write()))
  }
})

test('errors are found however they are made', () => {
  const errors = `
    // new PipeError('in_comment', 400, 'not one')
    export function notFound(noun: string, id: string): PipeError {
      return new PipeError(\`\${noun}_not_found\`, 404, \`There is no \${noun.replaceAll('_', ' ')} \${id}.\`)
    }
    function refused(message: string) { return new PipeError('refused', 403, message, { errors: [] }) }
    throw refused(\`Not on \${day}.\`)
    const rows = { one: { code: 'from_table', status: 415, message: 'Send JSON.' } }
    throw new PipeError(known.code, known.status, known.message)
    throw new PipeError('chosen', 409, isOld ? 'Too old.' : \`Made by \${name}.\`)
    throw new PipeError('framework', statusCode, error.message)
    throw new PipeError('constant', 422, closedMessage)
    function look(id: string) { throw new PipeError('literal', 404, \`No \${id} of \${message.kind}.\`) }`
  const uses = findErrors([
    { path: 'server/core/errors.ts', text: errors },
    {
      path: 'server/a.ts',
      text: "export const closedMessage = 'Closed.'; const message = 'no'; throw notFound('dead_job', id); refused('no')",
    },
  ])
  const found = uses.map(
    ({ code, status, message }) => `${code} ${status} ${message.replaceAll('\n', ' | ')}`,
  )
  assert.deepEqual(found.toSorted(), [
    'chosen 409 Too old. | Made by ….',
    'constant 422 Closed.',
    'dead_job_not_found 404 There is no dead job ….',
    'framework undefined `detail` says why.',
    'from_table 415 Send JSON.',
    'literal 404 No … of ….',
    'refused 403 Not on ….',
  ])
})

test('an error whose code is not written in the code is refused with its place', () => {
  const text = '\nthrow new PipeError(makeCode(), 400, "Why.")'
  assert.throws(() => findErrors([{ path: 'server/a.ts', text }]), /server\/a\.ts:2/)
})

test('a field of an event without an example value is named', () => {
  const schema = { properties: { id: {}, colour: {} } }
  assert.throws(() => exampleBody('message.painted', schema), /colour of message\.painted/)
})
