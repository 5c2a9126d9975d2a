import { settings } from '../../server/core/config.ts'
import { messagingProviders } from '../../server/messaging/providers/index.ts'
import { describeType, type JsonSchema, toJsonSchema } from './json-schema.ts'
import { code, generatedNote, page, table } from './markdown.ts'

export function writeSettings(): string {
  const fields = Object.entries(toJsonSchema(settings, 'input').properties ?? {})
  return page(
    '# Settings',
    generatedNote,
    'PipeCore reads these environment variables once, at start. Wrong ones are all named at once, and it does not start.',
    table(
      ['Setting', 'Value', 'Default', 'What it does'],
      fields.map(([name, field]) => [
        code(name),
        describeValue(field),
        field.default === undefined ? '' : code(JSON.stringify(field.default).replaceAll('"', '')),
        field.description ?? '',
      ]),
    ),
    '## Where providers are called',
    'Each sends the calls of one provider to another base URL: a proxy, a recorder, the sandbox. With the embedded database the default is the sandbox, so nothing leaves the machine unless its URL is set; with `DATABASE_URL` it is the provider itself.',
    table(
      ['Setting', 'Default with the embedded database', 'Default with `DATABASE_URL`'],
      messagingProviders.map((provider) => [
        code(`PROVIDER_URL_${provider.id.toUpperCase().replaceAll('-', '_')}`),
        code(`http://127.0.0.1:SANDBOX_PORT/${provider.id}`),
        code(provider.baseUrl),
      ]),
    ),
  )
}

function describeValue(field: JsonSchema): string {
  const range = field.minimum === undefined ? '' : `, ${field.minimum} to ${field.maximum}`
  const length = field.minLength === undefined ? '' : `, at least ${field.minLength} characters`
  return describeType(field) + range + length
}
