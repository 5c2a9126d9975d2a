import { z } from 'zod'
import { PipeError, type FieldError } from './errors.ts'
import type { PushTarget } from './metrics/push.ts'
import { isMasterKey } from './sealing.ts'

const port = z.coerce.number().int().min(1).max(65_535)
const masterKey = z.string().superRefine((text, context) => {
  if (!isMasterKey(text)) {
    context.addIssue({
      code: 'custom',
      message: 'must be 32 random bytes as base64 or hex; openssl rand -base64 32 makes one',
    })
  }
})
const origin = z
  .url({ protocol: /^https?$/, error: 'must be an http(s) URL such as https://pipecore.example.com' })
  .transform((url) => url.replace(/\/+$/, ''))
const flag = z
  .enum(['true', 'false', '1', '0'], { error: 'must be true or false' })
  .transform((text) => text === 'true' || text === '1')

const otlpHeaders = z.string().transform((text, context) => {
  const pairs = text.split(',').map((pair) => pair.trim().split(/=(.*)/s))
  try {
    return Object.fromEntries(pairs.map(([name = '', value = '']) => [name, decodeURIComponent(value)]))
  } catch {
    context.addIssue({ code: 'custom', message: 'must be name=value,name=value with URL-encoded values' })
    return z.NEVER
  }
})

/** Every setting PipeCore reads from the environment. `docs/reference/settings.md` is generated from it. */
export const settings = z.object({
  PORT: port.default(10_000).meta({ description: 'Port of the API.' }),
  PIPECORE_HOST: z.string().optional().meta({
    description:
      'Address to listen on. Default: 127.0.0.1 with the embedded database, 0.0.0.0 with DATABASE_URL.',
  }),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' })
    .optional()
    .meta({
      description:
        'PostgreSQL 15 or later, as a role that may create roles and schemas. PipeCore itself connects as two roles it makes, which own nothing. Without it an embedded PostgreSQL is started.',
    }),
  PIPECORE_QUEUE: z
    .url({ protocol: /^(nats|tls)$/, error: 'must be a nats:// or tls:// URL such as nats://localhost:4222' })
    .optional()
    .meta({
      description:
        'NATS with JetStream, `nats://user:password@host:4222` (or `tls://`): one worker process claims deliveries for all and hands them out over it. Without it each claims for itself. See docs/guides/scaling.md.',
    }),
  PIPECORE_DATA: z
    .string()
    .default('.pipecore')
    .meta({ description: 'Folder of the embedded database and its generated keys.' }),
  PIPECORE_PUBLIC_URL: origin.optional().meta({
    description:
      'Origin under which providers reach PipeCore; part of what they sign. Default: http://127.0.0.1:PORT.',
  }),
  PIPECORE_ADMIN_KEY: z
    .string()
    .min(24, 'must have at least 24 characters')
    .optional()
    .meta({ description: 'Fixed admin key. Otherwise one is generated and printed once.' }),
  PIPECORE_MASTER_KEY: masterKey.optional().meta({
    description:
      '32 bytes as base64 or hex; seals all credentials. Generated into the data folder with the embedded database, required with DATABASE_URL.',
  }),
  PIPECORE_MASTER_KEY_PREVIOUS: masterKey
    .optional()
    .meta({ description: 'The key before, readable until `npm run rotate-keys` reports 0 left.' }),
  PIPECORE_ALLOW_PRIVATE_ENDPOINTS: flag.optional().meta({
    description:
      'Lets events go to http: and private addresses. Default: true only with the embedded database, on loopback, without a public URL.',
  }),
  PIPECORE_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent'])
    .default('info')
    .meta({ description: 'How much is logged, as JSON lines on standard output.' }),
  PIPECORE_PROVIDER_TIMEOUT_MS: z.coerce.number().int().min(100).max(60_000).default(10_000).meta({
    description: 'Longest wait for a provider. A call without an answer by then is unknown, not failed.',
  }),
  PIPECORE_ENDPOINT_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(100)
    .max(60_000)
    .default(15_000)
    .meta({ description: 'Longest wait for the answer of an endpoint that receives events.' }),
  PIPECORE_ENDPOINT_DISABLED_AFTER_DAYS: z.coerce.number().min(0.01).max(365).default(5).meta({
    description: 'Days for which an endpoint may do nothing but fail before it is disabled.',
  }),
  PIPECORE_MESSAGES_KEPT_DAYS: z.coerce.number().int().min(1).max(3650).default(365).meta({
    description: 'Days after which messages and their stories are deleted. Attachments go after 7.',
  }),
  PIPECORE_PAYMENT_LOG_KEPT_DAYS: z.coerce.number().int().min(1).max(3650).default(365).meta({
    description:
      'Days after which the calls to payment providers and their answers are deleted. Payments are kept.',
  }),
  PIPECORE_METRICS_TOKEN: z.string().min(24, 'must have at least 24 characters').optional().meta({
    description:
      'What a Prometheus sends as bearer token to read GET /metrics. Without it only the admin key may.',
  }),
  PIPECORE_METRICS_PORT: port.optional().meta({
    description:
      'Serves GET /metrics on a port of its own as well: the only way to scrape a process of `--role worker`.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: origin.optional().meta({
    description: 'Base URL of an OpenTelemetry receiver (OTLP over HTTP) that metrics are sent to.',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: otlpHeaders.optional().meta({
    description: 'Headers for that receiver: `name=value,name=value`, values URL-encoded.',
  }),
  OTEL_EXPORTER_OTLP_PROTOCOL: z
    .enum(['http/protobuf', 'http/json'])
    .default('http/protobuf')
    .meta({ description: 'How metrics are written for that receiver.' }),
  OTEL_METRIC_EXPORT_INTERVAL: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(3_600_000)
    .default(60_000)
    .meta({ description: 'Milliseconds between two sendings of metrics.' }),
  OTEL_SERVICE_NAME: z
    .string()
    .default('pipecore')
    .meta({ description: 'What metrics that are sent say they are from.' }),
  SANDBOX_PORT: port
    .default(10_090)
    .meta({ description: 'Port of the simulated providers that `npm start` brings along.' }),
})

export interface Config {
  port: number
  host: string
  databaseUrl: string | undefined
  queueUrl: string | undefined
  dataFolder: string
  publicUrl: string
  adminKey: string | undefined
  masterKey: string | undefined
  previousMasterKey: string | undefined
  allowPrivateEndpoints: boolean
  logLevel: string
  providerTimeoutMs: number
  endpointTimeoutMs: number
  endpointDisabledAfterDays: number
  messagesKeptDays: number
  paymentLogKeptDays: number
  metricsToken: string | undefined
  metricsPort: number | undefined
  serviceName: string
  /** Where metrics are sent, if anywhere. */
  push: PushTarget | undefined
  sandboxPort: number
  /** Provider id → base URL that replaces the provider's own. */
  providerUrls: Readonly<Record<string, string>>
}

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads the settings once, at start.
 * @throws PipeError `settings_invalid` naming every wrong setting at once.
 */
export function loadConfig(environment: Environment, providerIds: readonly string[]): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = settings.safeParse(given)
  const problems: FieldError[] = parsed.success
    ? []
    : parsed.error.issues.map((issue) => ({ field: issue.path.join('.'), message: issue.message }))
  const ownUrls = readProviderUrls(given, providerIds, problems)
  problems.push(...unknownSettings(given))
  if (given.DATABASE_URL !== undefined && given.PIPECORE_MASTER_KEY === undefined) {
    problems.push({
      field: 'PIPECORE_MASTER_KEY',
      message: 'is required with DATABASE_URL; make one with: openssl rand -base64 32',
    })
  }
  if (!parsed.success || problems.length > 0) throw settingsInvalid(problems)
  const sandboxUrls =
    given.DATABASE_URL === undefined ? urlsOfSandbox(parsed.data.SANDBOX_PORT, providerIds) : {}
  return toConfig(parsed.data, { ...sandboxUrls, ...ownUrls })
}

/** Beside the embedded database no provider is called for real unless its URL is set. */
function urlsOfSandbox(port: number, providerIds: readonly string[]): Record<string, string> {
  return Object.fromEntries(providerIds.map((id) => [id, `http://127.0.0.1:${port}/${id}`]))
}

function toConfig(values: z.infer<typeof settings>, providerUrls: Record<string, string>): Config {
  const host = values.PIPECORE_HOST ?? (values.DATABASE_URL === undefined ? '127.0.0.1' : '0.0.0.0')
  const loopback = host === '127.0.0.1' || host === 'localhost' || host === '::1'
  const isAtHome = values.DATABASE_URL === undefined && values.PIPECORE_PUBLIC_URL === undefined
  return {
    port: values.PORT,
    host,
    databaseUrl: values.DATABASE_URL,
    queueUrl: values.PIPECORE_QUEUE,
    dataFolder: values.PIPECORE_DATA,
    publicUrl: values.PIPECORE_PUBLIC_URL ?? `http://127.0.0.1:${values.PORT}`,
    adminKey: values.PIPECORE_ADMIN_KEY,
    masterKey: values.PIPECORE_MASTER_KEY,
    previousMasterKey: values.PIPECORE_MASTER_KEY_PREVIOUS,
    allowPrivateEndpoints: values.PIPECORE_ALLOW_PRIVATE_ENDPOINTS ?? (loopback && isAtHome),
    logLevel: values.PIPECORE_LOG_LEVEL,
    providerTimeoutMs: values.PIPECORE_PROVIDER_TIMEOUT_MS,
    endpointTimeoutMs: values.PIPECORE_ENDPOINT_TIMEOUT_MS,
    endpointDisabledAfterDays: values.PIPECORE_ENDPOINT_DISABLED_AFTER_DAYS,
    messagesKeptDays: values.PIPECORE_MESSAGES_KEPT_DAYS,
    paymentLogKeptDays: values.PIPECORE_PAYMENT_LOG_KEPT_DAYS,
    metricsToken: values.PIPECORE_METRICS_TOKEN,
    metricsPort: values.PIPECORE_METRICS_PORT,
    serviceName: values.OTEL_SERVICE_NAME,
    push: pushTargetOf(values),
    sandboxPort: values.SANDBOX_PORT,
    providerUrls,
  }
}

function pushTargetOf(values: z.infer<typeof settings>): PushTarget | undefined {
  const url = values.OTEL_EXPORTER_OTLP_ENDPOINT
  if (url === undefined) return undefined
  return {
    url,
    headers: values.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    protocol: values.OTEL_EXPORTER_OTLP_PROTOCOL,
    everyMs: values.OTEL_METRIC_EXPORT_INTERVAL,
  }
}

function settingsInvalid(problems: readonly FieldError[]): PipeError {
  const lines = problems.map((problem) => `  ${problem.field} ${problem.message}`)
  return new PipeError('settings_invalid', 500, `These settings are wrong:\n${lines.join('\n')}`, {
    errors: problems,
  })
}

const providerUrlPrefix = 'PROVIDER_URL_'

function readProviderUrls(
  environment: Environment,
  providerIds: readonly string[],
  problems: FieldError[],
): Record<string, string> {
  const urls: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(providerUrlPrefix)) continue
    const providerId = name.slice(providerUrlPrefix.length).toLowerCase().replaceAll('_', '-')
    const url = origin.safeParse(value)
    if (!providerIds.includes(providerId)) {
      problems.push({ field: name, message: `names no provider; there are ${providerIds.join(', ')}` })
    } else if (url.success) urls[providerId] = url.data
    else problems.push({ field: name, message: url.error.issues[0]?.message ?? 'is no URL' })
  }
  return urls
}

/** What backends that call PipeCore name their own settings; often in the same shell. */
const namesOfCallers = ['PIPECORE_URL', 'PIPECORE_API_URL', 'PIPECORE_API_KEY', 'PIPECORE_WEBHOOK_SECRET']

function unknownSettings(environment: Environment): FieldError[] {
  const known = new Set([...Object.keys(settings.shape), ...namesOfCallers])
  return Object.keys(environment)
    .filter((name) => name.startsWith('PIPECORE_') && !known.has(name))
    .map((name) => ({ field: name, message: 'is not a setting of PipeCore; see docs/reference/settings.md' }))
}
