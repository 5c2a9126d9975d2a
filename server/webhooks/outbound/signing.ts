import {
  createHmac,
  createPrivateKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { createRecent } from '#core/recent.ts'
import { toSeconds } from './requests/headers.ts'

export type SigningScheme = 'hmac' | 'ed25519'

const secretPrefix = 'whsec_'
const privatePrefix = 'whsk_'
const publicPrefix = 'whpk_'
const secretBytes = 32
const seedBytes = 32

/** As Standard Webhooks writes them: `whsec_` with 32 random bytes, or `whsk_` with seed and public key of ed25519. */
export function createEndpointSecret(scheme: SigningScheme): string {
  if (scheme === 'hmac') return secretPrefix + randomBytes(secretBytes).toString('base64')
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  return privatePrefix + Buffer.concat([fromUrl(d), fromUrl(x)]).toString('base64')
}

/** `whpk_…` of an ed25519 secret; null of a shared one. */
export function publicKeyOf(secret: string): string | null {
  return isPrivateKey(secret) ? publicPrefix + keyBytes(secret).subarray(seedBytes).toString('base64') : null
}

/** As in Standard Webhooks over the exact body; one signature per secret, so both verify while a secret rotates. */
export function signEvent(eventId: string, body: Buffer, secrets: readonly string[], at: Date): string {
  const head = `${eventId}.${toSeconds(at)}.`
  const signatures = secrets.map((secret) =>
    isPrivateKey(secret)
      ? `v1a,${signAsymmetric(secret, head, body)}`
      : `v1,${signShared(secret, head, body)}`,
  )
  return signatures.join(' ')
}

function isPrivateKey(secret: string): boolean {
  return secret.startsWith(privatePrefix)
}

function signShared(secret: string, head: string, body: Buffer): string {
  return createHmac('sha256', keyOf(secret)).update(head).update(body).digest('base64')
}

function signAsymmetric(secret: string, head: string, body: Buffer): string {
  return sign(null, Buffer.concat([Buffer.from(head), body]), keyOf(secret)).toString('base64')
}

/** Making a key takes longer than signing with it. */
const keys = createRecent<string, KeyObject>({ most: 5_000, forMs: 10 * 60_000 })

function keyOf(secret: string): KeyObject {
  const known = keys.get(secret)
  if (known !== undefined) return known
  const key = isPrivateKey(secret) ? createAsymmetricKey(keyBytes(secret)) : createSecretKey(keyBytes(secret))
  keys.set(secret, key)
  return key
}

function createAsymmetricKey(bytes: Buffer): KeyObject {
  const key = {
    kty: 'OKP',
    crv: 'Ed25519',
    d: bytes.subarray(0, seedBytes).toString('base64url'),
    x: bytes.subarray(seedBytes).toString('base64url'),
  }
  return createPrivateKey({ key, format: 'jwk' })
}

function keyBytes(secret: string): Buffer {
  return Buffer.from(secret.slice(secret.indexOf('_') + 1), 'base64')
}

function fromUrl(text: string): Buffer {
  return Buffer.from(text, 'base64url')
}
