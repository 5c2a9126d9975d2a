import { timingSafeEqual } from 'node:crypto'
import type { z } from 'zod'
import { parseJson } from './provider-call.ts'
import type { RawWebhook, Verification } from './provider.ts'

/** The body as JSON, without NUL characters; undefined when it is none. */
export function readWebhookJson(webhook: RawWebhook): unknown {
  return parseJson(webhook.body.toString('utf8'))
}

/**
 * The body as a form, decoded and untrimmed, without NUL characters; bytes that are no form give odd names, never
 * an error.
 */
export function readWebhookForm(webhook: RawWebhook): URLSearchParams {
  // URLSearchParams drops one leading `?`: give it ours, so that it keeps the sender's.
  const form = new URLSearchParams(`?${webhook.body.toString('utf8')}`)
  const pairs = [...form].map(([name, value]): [string, string] => [name, value.replaceAll('\0', '')])
  return new URLSearchParams(pairs)
}

/** Those items of a list that fit the schema: one broken item of a batch must not cost the others. */
export function readEach<Item>(schema: z.ZodType<Item>, list: unknown): Item[] {
  if (!Array.isArray(list)) return []
  return list.flatMap((item) => {
    const read = schema.safeParse(item)
    return read.success ? [read.data] : []
  })
}

/** Compares signatures and secrets in a time that tells nothing about where they differ. */
export function equalText(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

export interface SignatureCheck {
  /** The header that carries the signature, as the provider writes it. */
  header: string
  /** Further headers that are signed and must be there. */
  signedHeaders?: readonly string[]
  /** Present and former secrets; absent ones are skipped. */
  secrets: ReadonlyArray<string | undefined>
  /** What to do when there is no secret at all. */
  whenSecretMissing: string
  /** What to look at when no secret matches. */
  whenRefused: string
  matches(signature: string, secret: string): boolean
}

/** The order every provider checks in: is there a secret, are the headers there, does any secret match. */
export function verifySignature(webhook: RawWebhook, check: SignatureCheck): Verification {
  const secrets = check.secrets.filter((secret) => secret !== undefined)
  if (secrets.length === 0) return { ok: false, check: 'secret_missing', reason: check.whenSecretMissing }
  const missing = [check.header, ...(check.signedHeaders ?? [])].find((name) => !readHeader(webhook, name))
  if (missing !== undefined) {
    return { ok: false, check: 'header_missing', reason: `The header ${missing} is missing.` }
  }
  const signature = readHeader(webhook, check.header)
  if (secrets.some((secret) => check.matches(signature, secret))) return { ok: true }
  return { ok: false, check: 'signature', reason: `The signature does not match: ${check.whenRefused}` }
}

/** The values under a name in a header such as `t=1,v1=a,v1=b`; what surrounds them and the case of names is no matter. */
export function readSignaturePairs(header: string | undefined): (name: string) => string[] {
  const pairs = (header ?? '').split(',').map((pair) => {
    const [name = '', ...value] = pair.split('=')
    return [name.trim().toLowerCase(), value.join('=').trim()] as const
  })
  return (name) => pairs.filter(([given]) => given === name).map(([, value]) => value)
}

export interface SigningTime {
  /** NaN for what is no time: it passes never. */
  signedAtSeconds: number
  mostSeconds: number
  /** How far in the future, because clocks differ; as far as in the past where it is not said. */
  aheadSeconds?: number
  /** `mostSeconds` in words: `five minutes`. */
  words: string
}

/** Of what is verified so far: whether it was signed about now, and not in the future either. */
export function verifyAge(
  verification: Verification,
  { signedAtSeconds, mostSeconds, aheadSeconds = mostSeconds, words }: SigningTime,
  now: Date,
): Verification {
  const ageSeconds = Math.floor(now.getTime() / 1000) - signedAtSeconds
  const isTimely = ageSeconds <= mostSeconds && ageSeconds >= -aheadSeconds
  if (!verification.ok || isTimely) return verification
  const reason = `It was signed more than ${words} ago or in the future.`
  return { ok: false, check: 'timestamp', reason }
}

function readHeader(webhook: RawWebhook, name: string): string {
  return webhook.headers[name.toLowerCase()] ?? ''
}
