import type { EventType } from '../../server/core/module.ts'
import { modules } from '../../server/modules.ts'
import { exampleBody } from './event-example.ts'
import { describeType, type JsonSchema, toJsonSchema } from './json-schema.ts'
import { code, generatedNote, page, table } from './markdown.ts'

export function writeEvents(): string {
  const types = modules.flatMap((module) => module.events ?? [])
  const schemas = types.map((type) => toJsonSchema(type.schema, 'output'))
  return page(
    '# Events',
    generatedNote,
    'What PipeCore posts to endpoints (`POST /webhooks/endpoints`), as JSON with the signature of [Standard Webhooks](https://www.standardwebhooks.com) in `webhook-id`, `webhook-timestamp` and `webhook-signature`. An event may come more than once, always with the same `id`. `GET /webhooks/catalog` gives the JSON Schema of every type.',
    table(
      ['Event', 'Version', 'When'],
      types.map((type) => [
        `[${code(type.name)}](#${anchor(type.name)})`,
        String(type.version),
        type.description,
      ]),
    ),
    ...types.flatMap((type, index) => describeEvent(type, schemas[index] ?? {})),
  )
}

/** As GitHub makes anchors of headings. */
function anchor(name: string): string {
  return name.replaceAll('.', '')
}

function describeEvent(type: EventType, schema: JsonSchema): string[] {
  const example = type.schema.parse(exampleBody(type.name, schema))
  return [
    `## ${type.name}`,
    `${type.description} Version ${type.version}.`,
    table(
      ['Field', 'Type', 'What it is'],
      Object.entries(schema.properties ?? {}).map(([name, field]) => [
        code(name),
        describeType(field) + (schema.required?.includes(name) ? '' : ', may be absent'),
        field.description ?? '',
      ]),
    ),
    `\`\`\`json\n${JSON.stringify(example, undefined, 2)}\n\`\`\``,
  ]
}
