import { messagingProviders } from '../../server/messaging/providers/index.ts'
import type { MessagingProvider } from '../../server/messaging/providers/provider.ts'
import { messagingWebhookUrl } from '../../server/messaging/provider-registry.ts'
import { describeType, type JsonSchema, toJsonSchema } from './json-schema.ts'
import { code, generatedNote, page, table } from './markdown.ts'

export function writeProviders(): string {
  return page(
    '# Messaging providers',
    generatedNote,
    'What `POST /messaging/config/provider` takes as `provider` and `credentials`. Secret fields are sealed when stored and come back masked.',
    ...messagingProviders.flatMap(describeProvider),
  )
}

function describeProvider(provider: MessagingProvider): string[] {
  const { properties = {}, required = [] } = toJsonSchema(provider.credentials, 'input')
  return [
    `## ${provider.title}`,
    table(
      ['Fact', 'Value'],
      [
        ['`provider`', code(provider.id)],
        ['Channels', provider.channels.join(', ')],
        ...describeCapabilities(provider),
        ['API', code(provider.baseUrl)],
        [
          'Webhook URL to register',
          provider.channels.map((channel) => webhookUrl(provider, channel)).join('\n'),
        ],
      ],
    ),
    table(
      ['Credential', 'Value', 'Needed', 'Secret', 'What it is'],
      Object.entries(properties).map(([name, field]) => [
        code(name),
        describeType(field),
        required.includes(name) ? 'yes' : describeDefault(field),
        field.secret === true ? 'yes' : '',
        field.description ?? '',
      ]),
    ),
  ]
}

function describeDefault(field: JsonSchema): string {
  return field.default === undefined ? '' : `default ${code(JSON.stringify(field.default))}`
}

function describeCapabilities({ capabilities, channels }: MessagingProvider): string[][] {
  const yesOrNo = (flag: boolean) => (flag ? 'yes' : 'no')
  const lengths = channels.flatMap((channel) => {
    const length = capabilities.maxTextLength[channel]
    return length === undefined ? [] : [`${channel} ${length}`]
  })
  return [
    ['Templates of its own', yesOrNo(capabilities.templates)],
    ['Media', yesOrNo(capabilities.media)],
    ['Attachments', yesOrNo(capabilities.attachments)],
    ['Knows a repeated send by its key', describeIdempotency(capabilities)],
    ...(lengths.length > 0 ? [['Longest text, characters', lengths.join(', ')]] : []),
  ]
}

function describeIdempotency({ idempotency }: MessagingProvider['capabilities']): string {
  return idempotency === undefined ? 'no' : `for ${idempotency.keptMs / 3_600_000} hours`
}

function webhookUrl(provider: MessagingProvider, channel: string): string {
  return code(messagingWebhookUrl('PIPECORE_PUBLIC_URL', 'TENANT_ID', channel, provider.id))
}
