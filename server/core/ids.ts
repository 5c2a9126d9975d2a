import { randomFillSync } from 'node:crypto'

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const timeLength = 10
const randomLength = 16

export type IdPrefix =
  | 'msg'
  | 'rep'
  | 'evt'
  | 'dlv'
  | 'att'
  | 'end'
  | 'con'
  | 'key'
  | 'whk'
  | 'job'
  | 'sup'
  | 'req'
  | 'pay'
  | 'chk'
  | 'rfd'
  | 'pmt'
  | 'sub'
  | 'plg'
  | 'rec'
  | 'rpl'
  | 'inc'

/** `msg_01k…`: 48 bits of milliseconds and 80 random bits, so ids sort by the time they were made. */
export function createId(prefix: IdPrefix, now: Date = new Date()): string {
  let random = ''
  const start = takeRandom()
  for (let index = start; index < start + randomLength; index += 1)
    random += alphabet[pool.readUInt8(index) & 31]
  return `${prefix}_${encodeTime(now)}${random}`
}

/** Fetched for many ids at once: a system call for each would cost more than all the rest of it. */
const pool = Buffer.alloc(randomLength * 256)
let used = pool.length

/** Where in the pool they begin. */
function takeRandom(): number {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += randomLength
  return used - randomLength
}

/** 32 digits. */
export function createRandomHex(): string {
  const start = takeRandom()
  return pool.toString('hex', start, start + randomLength)
}

/** The smallest id of a moment: bounds for partitions and for time filters over ids. */
export function firstIdOf(prefix: IdPrefix, moment: Date): string {
  return `${prefix}_${encodeTime(moment)}`
}

/** @throws for deliveries, whose ids carry the time of their event, whenever they were made. */
export function timeOfId(id: string): Date {
  if (id.startsWith('dlv_')) throw new Error(`The id ${id} has the time of its event: ask that for it.`)
  const text = id.slice(id.indexOf('_') + 1, id.indexOf('_') + 1 + timeLength)
  let milliseconds = 0
  for (const letter of text) milliseconds = milliseconds * 32 + alphabet.indexOf(letter)
  return new Date(milliseconds)
}

function encodeTime(moment: Date): string {
  let rest = moment.getTime()
  let text = ''
  for (let index = 0; index < timeLength; index += 1) {
    text = alphabet[rest % 32] + text
    rest = Math.floor(rest / 32)
  }
  return text
}
