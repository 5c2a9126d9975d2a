import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig } from './config.ts'
import { PipeError } from './errors.ts'

const providers = ['twilio', 'uber-direct']

function problemsOf(environment: Record<string, string>): string[] {
  try {
    loadConfig(environment, providers)
  } catch (error) {
    assert.ok(error instanceof PipeError)
    return error.errors.map((problem) => problem.field)
  }
  return []
}

test('without any setting it is a loopback server on the embedded database that calls the sandbox', () => {
  const config = loadConfig({}, providers)
  assert.deepEqual(
    [config.port, config.host, config.databaseUrl, config.publicUrl, config.allowPrivateEndpoints],
    [10_000, '127.0.0.1', undefined, 'http://127.0.0.1:10000', true],
  )
  assert.deepEqual(config.providerUrls, {
    twilio: 'http://127.0.0.1:10090/twilio',
    'uber-direct': 'http://127.0.0.1:10090/uber-direct',
  })
})

test('with a database of its own it listens everywhere, guards addresses and calls the real providers', () => {
  const config = loadConfig(
    { DATABASE_URL: 'postgres://u:p@db/pipecore', PIPECORE_MASTER_KEY: 'A'.repeat(43) },
    providers,
  )
  assert.deepEqual([config.host, config.allowPrivateEndpoints, config.providerUrls], ['0.0.0.0', false, {}])
})

test('every wrong setting is reported at once, by name', () => {
  const wrong = {
    PORT: 'many',
    DATABASE_URL: 'mysql://db',
    PIPECORE_PUBLIC_URL: 'pipecore.example.com',
    PIPECORE_ADMIN_KEY: 'short',
    PIPECORE_MASTER_KEY: 'short',
    PIPECORE_TYPO: '1',
    PROVIDER_URL_TWILIO: 'nowhere',
    PROVIDER_URL_NOBODY: 'http://127.0.0.1',
  }
  assert.deepEqual(problemsOf(wrong).toSorted(), Object.keys(wrong).toSorted())
})

test('a provider’s URL may be replaced, dashes written as underscores', () => {
  const config = loadConfig({ PROVIDER_URL_UBER_DIRECT: 'http://127.0.0.1:9001/' }, providers)
  assert.equal(config.providerUrls['uber-direct'], 'http://127.0.0.1:9001')
})

test('an empty setting is as good as none', () => {
  assert.deepEqual(problemsOf({ PORT: '', DATABASE_URL: '' }), [])
})

test('with DATABASE_URL a master key is required', () => {
  assert.deepEqual(problemsOf({ DATABASE_URL: 'postgres://u:p@db/pipecore' }), ['PIPECORE_MASTER_KEY'])
})

test('the names that callers of PipeCore use for their own settings do not stop it', () => {
  assert.deepEqual(
    problemsOf({ PIPECORE_API_URL: 'https://pipecore.example.com', PIPECORE_API_KEY: 'pck_fake' }),
    [],
  )
})
