import type { Outbound } from '#core/outbound.ts'
import { scrubText } from '#core/scrub.ts'
import { credentialFields } from './credentials.ts'
import type { Provider, ProviderContext } from './provider.ts'

export interface RecordedAnswer {
  status: number
  /** Without any credential, at most 2,000 characters. */
  text: string
}

const longestText = 2_000

/** A context that keeps the provider's last answer, so that it can be shown to the tenant. */
export function recordAnswers<Credentials>(
  provider: Provider<Credentials>,
  context: ProviderContext<Credentials>,
): {
  context: ProviderContext<Credentials>
  lastAnswer: () => RecordedAnswer | undefined
} {
  const fields = credentialFields(provider)
  const isSecret = ([name]: [string, unknown]) => fields[name]?.secret === true
  const secrets = Object.entries(context.credentials as object)
    .filter(isSecret)
    .flatMap(([, value]) => listTexts(value))
  let last: RecordedAnswer | undefined
  const outbound: Outbound = {
    close: () => context.outbound.close(),
    request: async (request) => {
      const response = await context.outbound.request(request)
      const text = response.body
        .subarray(0, 2 * longestText)
        .toString('utf8')
        .replaceAll('\0', '')
      // The cut may go through a character of two halves.
      const shown = scrubText(text, secrets).slice(0, longestText).toWellFormed()
      last = { status: response.status, text: shown }
      return response
    },
  }
  return { context: { ...context, outbound }, lastAnswer: () => last }
}

function listTexts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(listTexts) : []
}
