import { createECDH, createHash, createHmac, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

type FormParams = ReadonlyArray<readonly [name: string, value: string]>

/** `X-Twilio-Signature` of a form POST: URL without fragment, then each name and value in byte order of names. */
export function signTwilioForm(authToken: string, url: string, params: FormParams): string {
  const byName = new Map<string, Set<string>>()
  for (const [name, value] of params) byName.set(name, (byName.get(name) ?? new Set()).add(value))
  const names = [...byName.keys()].toSorted(compareBytes)
  const text = names.flatMap((name) => [...byName.get(name)!].toSorted(compareBytes).map((v) => name + v))
  return hmacBase64('sha1', authToken, withoutFragment(url) + text.join(''))
}

/** `X-Hub-Signature-256` over the raw bytes. */
export function signMeta(appSecret: string, body: string | Buffer): string {
  return `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`
}

/** ECDSA P-256 over timestamp text + raw body, base64 DER. */
export function signSendgrid(privateKey: KeyObject, timestamp: string, body: string | Buffer): string {
  return sign('sha256', Buffer.concat([Buffer.from(timestamp), Buffer.from(body)]), privateKey).toString(
    'base64',
  )
}

/** One `v1,…` per secret, joined by spaces as during a rotation. Secrets are `whsec_` + base64. */
export function signSvix(secrets: readonly string[], id: string, timestamp: string, body: string): string {
  return secrets
    .map((secret) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64'))
    .map((key) => `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`)
    .join(' ')
}

export type SigningKeys = { privateKey: KeyObject; publicKey: string }

/**
 * A P-256 pair from 32 bytes of seed, so the same account has the same key after a restart;
 * `publicKey` is base64 SPKI DER as SendGrid shows it.
 */
export function createSigningKeys(seed: Buffer): SigningKeys {
  const curve = createECDH('prime256v1')
  curve.setPrivateKey(seed)
  const point = curve.getPublicKey()
  const [d, x, y] = [seed, point.subarray(1, 33), point.subarray(33)].map((part) =>
    part.toString('base64url'),
  )
  const privateKey = createPrivateKey({ key: { kty: 'EC', crv: 'P-256', d, x, y }, format: 'jwk' })
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).toString('base64')
  return { privateKey, publicKey }
}

/** 32 bytes that are always the same for the same words. */
export function seedFrom(...words: string[]): Buffer {
  return createHash('sha256')
    .update(`pipecore sandbox\n${words.join('\n')}`)
    .digest()
}

/** JSON as Meta writes it: non-ASCII as `\uXXXX` and `/` as `\/`, so only the raw bytes verify. */
export function toEscapedJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll('/', '\\/')
    .replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function hmacBase64(algorithm: string, key: string, text: string): string {
  return createHmac(algorithm, key).update(text, 'utf8').digest('base64')
}

function withoutFragment(url: string): string {
  return url.split('#', 1)[0]!
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
