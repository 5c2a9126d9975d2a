import { messagingProviders } from '../../server/messaging/providers/index.ts'
import type { MessagingProvider } from '../../server/messaging/providers/provider.ts'
import { messagingWebhookUrl } from '../../server/messaging/provider-registry.ts'
import { paymentProviders } from '../../server/payments/providers/index.ts'
import type { PaymentProvider } from '../../server/payments/providers/provider.ts'
import { paymentWebhookUrl } from '../../server/payments/provider-registry.ts'
import { describeType, type JsonSchema, toJsonSchema } from './json-schema.ts'
import { code, generatedNote, page, table } from './markdown.ts'

export function writeProviders(): string {
  return page(
    '# Providers',
    generatedNote,
    'What `POST /messaging/config/provider` and `POST /payments/config/provider` take as `provider` and `credentials`. Secret fields are sealed when stored and come back masked.',
    '## Messaging',
    ...messagingProviders.flatMap(describeMessaging),
    '## Payments',
    ...paymentProviders.flatMap(describePayments),
  )
}

function describeMessaging(provider: MessagingProvider): string[] {
  const urls = provider.channels.map((channel) => webhookUrl(provider, channel))
  return describeProvider(provider, [
    ['Channels', provider.channels.join(', ')],
    ...describeCapabilities(provider),
    ['API', code(provider.baseUrl)],
    ['Webhook URL to register', urls.join('\n')],
  ])
}

function describePayments(provider: PaymentProvider): string[] {
  const { capabilities } = provider
  const url = paymentWebhookUrl('PIPECORE_PUBLIC_URL', 'TENANT_ID', provider.id)
  const currencies = Object.entries(capabilities.wire).map(
    ([currency, decimals]) => `${currency} ${decimals}`,
  )
  return describeProvider(provider, [
    ['Currencies, with the decimals of its amounts', currencies.join(', ')],
    ['Tokens of its browser library', yesOrNo(capabilities.tokens)],
    ['Saved methods', yesOrNo(capabilities.savedMethods)],
    ['Subscriptions', capabilities.subscriptions],
    ['Knows a repeated call by its key', describeIdempotency(capabilities)],
    ['API', code(provider.baseUrl)],
    ['Webhook URL to register', capabilities.webhooks ? code(url) : 'none'],
  ])
}

function describeProvider(
  provider: MessagingProvider | PaymentProvider,
  facts: ReadonlyArray<readonly string[]>,
): string[] {
  const { properties = {}, required = [] } = toJsonSchema(provider.credentials, 'input')
  return [
    `### ${provider.title}`,
    table(['Fact', 'Value'], [['`provider`', code(provider.id)], ...facts.map((fact) => [...fact])]),
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

const yesOrNo = (flag: boolean) => (flag ? 'yes' : 'no')

function describeDefault(field: JsonSchema): string {
  return field.default === undefined ? '' : `default ${code(JSON.stringify(field.default))}`
}

function describeCapabilities({ capabilities, channels }: MessagingProvider): string[][] {
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

function describeIdempotency({ idempotency }: { idempotency: { keptMs: number } | undefined }): string {
  return idempotency === undefined ? 'no' : `for ${idempotency.keptMs / 3_600_000} hours`
}

function webhookUrl(provider: MessagingProvider, channel: string): string {
  return code(messagingWebhookUrl('PIPECORE_PUBLIC_URL', 'TENANT_ID', channel, provider.id))
}
