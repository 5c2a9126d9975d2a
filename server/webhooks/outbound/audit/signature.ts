import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'

export interface AuditKey {
  id: string
  publicKey: string
  privateKey: KeyObject
}

export function makeAuditKey(): AuditKey {
  const pair = generateKeyPairSync('ed25519')
  const publicKey = pair.publicKey.export({ type: 'spki', format: 'der' }).toString('base64url')
  return { id: keyIdOf(publicKey), publicKey, privateKey: pair.privateKey }
}

/** Names a key by what it is: who noted the id knows the key. */
export function keyIdOf(publicKey: string): string {
  return hashText(publicKey).slice(0, 32)
}

export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

export function signText(text: string, key: KeyObject): string {
  return sign(null, Buffer.from(text), key).toString('base64url')
}

export function isSigned(text: string, signature: string, publicKey: string): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64url'), type: 'spki', format: 'der' })
    return verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64url'))
  } catch {
    return false
  }
}
