import { hash, randomInt } from 'node:crypto'
import { crc32 } from 'node:zlib'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const secretLength = 32
const shape = /^pck_([0-9A-Za-z]{32})_([0-9a-z]{7})$/

/** `pck_<32 base62>_<checksum>`: the checksum lets typing errors and secret scanners be told at once. */
export function createKey(): string {
  let secret = ''
  for (let index = 0; index < secretLength; index += 1) secret += alphabet[randomInt(alphabet.length)]
  return `pck_${secret}_${checksum(secret)}`
}

export function isWellFormedKey(key: string): boolean {
  const match = shape.exec(key)
  return match?.[1] !== undefined && checksum(match[1]) === match[2]
}

export function hashKey(key: string): string {
  return hash('sha256', key, 'hex')
}

export function prefixOfKey(key: string): string {
  return key.slice(0, 10)
}

function checksum(secret: string): string {
  return crc32(secret).toString(36).padStart(7, '0')
}
