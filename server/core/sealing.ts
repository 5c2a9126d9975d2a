import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { inspect } from 'node:util'
import { PipeError } from './errors.ts'

/** The operator's key; it only ever wraps data keys. */
export interface MasterKey {
  /** First 8 hex digits of the SHA-256 of the key: names it without telling it. */
  id: string
  key: KeyObject
}

/** Data keys open under both and are made under `current`. */
export interface MasterKeys {
  current: MasterKey
  previous?: MasterKey
}

/** What is stored of an owner's data key. */
export interface WrappedDataKey {
  kekId: string
  wrapped: string
}

export type DataKey = KeyObject

/** The cell that a secret belongs to. Moved to any other it does not open. */
export interface Place {
  owner: string
  table: string
  row: string
  column: string
}

const cipher = 'aes-256-gcm'
const version = 'v1'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** @throws PipeError `master_key_invalid` unless the text is 32 bytes as hex, base64 or base64url. */
export function parseMasterKey(text: string): MasterKey {
  const bytes = decodeKey(text.trim())
  if (bytes?.length !== keyBytes) {
    throw new PipeError(
      'master_key_invalid',
      500,
      'A master key must be 32 random bytes as base64, base64url or hex; `openssl rand -base64 32` makes one.',
    )
  }
  const id = createHash('sha256').update(bytes).digest('hex').slice(0, 8)
  return { id, key: createSecretKey(bytes) }
}

export function isMasterKey(text: string): boolean {
  return decodeKey(text.trim())?.length === keyBytes
}

/** A new master key as text for the settings. */
export function generateMasterKey(): string {
  return randomBytes(keyBytes).toString('base64url')
}

export function createDataKey(keys: MasterKeys, owner: string): WrappedDataKey {
  return wrapDataKey(keys.current, owner, randomBytes(keyBytes))
}

/**
 * @throws PipeError `master_key_unknown` naming the master key it needs, or `secret_unreadable` when the data key
 * was changed or belongs to another owner.
 */
export function unwrapDataKey(keys: MasterKeys, owner: string, wrapped: string): DataKey {
  return createSecretKey(openWrapped(keys, owner, wrapped))
}

/** The same data key under the current master key: what it sealed stays as it is. Throws as `unwrapDataKey`. */
export function rewrapDataKey(keys: MasterKeys, owner: string, wrapped: string): WrappedDataKey {
  return wrapDataKey(keys.current, owner, openWrapped(keys, owner, wrapped))
}

export function needsRewrap(keys: MasterKeys, wrapped: string): boolean {
  return readKekId(wrapped) !== keys.current.id
}

export function seal(dataKey: DataKey, place: Place, plaintext: string): string {
  return `${version}.${encrypt(dataKey, describePlace(place), Buffer.from(plaintext))}`
}

/** @throws PipeError `secret_unreadable` when the text was changed, or sealed for another place or owner. */
export function open(dataKey: DataKey, place: Place, sealed: string): string {
  const [found, ...box] = sealed.split('.')
  const bytes = found === version ? decrypt(dataKey, describePlace(place), box) : undefined
  if (!bytes) throw unreadable(`${place.column} of ${place.table} ${place.row}, owner ${place.owner}`)
  return bytes.toString()
}

/** Holds a secret in memory; whatever prints it by mistake prints `[redacted]`. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[redacted]'
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return '[redacted]'
  }
}

const shortestShown = 16

/** For showing which secret is stored: its last 4 characters, or none of a short one. */
export function maskSecret(value: string): string {
  const characters = Array.from(value)
  return characters.length < shortestShown ? '••••' : `••••${characters.slice(-4).join('')}`
}

/** Base64 ignores what it does not know, so the alphabet is checked first. */
function decodeKey(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  return /^[\w+/-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined
}

function wrapDataKey(master: MasterKey, owner: string, bytes: Buffer): WrappedDataKey {
  const box = encrypt(master.key, `${master.id}|${owner}`, bytes)
  return { kekId: master.id, wrapped: `${version}.${master.id}.${box}` }
}

function openWrapped(keys: MasterKeys, owner: string, wrapped: string): Buffer {
  const kekId = readKekId(wrapped)
  if (!kekId) throw unreadable(`data key of ${owner}`)
  const master = [keys.current, keys.previous].find((key) => key?.id === kekId)
  if (!master) {
    throw new PipeError(
      'master_key_unknown',
      500,
      `This needs the master key with the id ${kekId}; set it as PIPECORE_MASTER_KEY or PIPECORE_MASTER_KEY_PREVIOUS.`,
    )
  }
  const bytes = decrypt(master.key, `${kekId}|${owner}`, wrapped.split('.').slice(2))
  if (!bytes) throw unreadable(`data key of ${owner}`)
  return bytes
}

function readKekId(wrapped: string): string | undefined {
  return /^v1\.([0-9a-f]{8})\./.exec(wrapped)?.[1]
}

/** JSON keeps the parts apart, whatever characters they hold. */
function describePlace({ owner, table, row, column }: Place): string {
  return JSON.stringify([version, owner, table, row, column])
}

function encrypt(key: KeyObject, boundTo: string, plaintext: Buffer): string {
  const nonce = randomBytes(nonceBytes)
  const box = createCipheriv(cipher, key, nonce, { authTagLength: tagBytes })
  box.setAAD(Buffer.from(boundTo))
  const sealed = Buffer.concat([box.update(plaintext), box.final(), box.getAuthTag()])
  return `${nonce.toString('base64url')}.${sealed.toString('base64url')}`
}

function decrypt(key: KeyObject, boundTo: string, parts: readonly string[]): Buffer | undefined {
  const [nonce, sealed, ...rest] = parts.map(decodeStrictly)
  if (!nonce || !sealed || rest.length > 0) return undefined
  try {
    const box = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes })
    box.setAAD(Buffer.from(boundTo))
    box.setAuthTag(sealed.subarray(-tagBytes))
    return Buffer.concat([box.update(sealed.subarray(0, -tagBytes)), box.final()])
  } catch {
    return undefined
  }
}

/** Only the one spelling that we write: lenient decoding would open a text that was changed. */
function decodeStrictly(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

function unreadable(internal: string): PipeError {
  return new PipeError(
    'secret_unreadable',
    500,
    'A stored secret cannot be opened: it was changed, moved to another row, or its owner was deleted. Save it again.',
    { internal },
  )
}
