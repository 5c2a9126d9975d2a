import type { Random } from './random.ts'
import { type Route, routes } from './routes.ts'

/** What the simulated provider plays on a message, by magic recipients of the sandbox. */
export interface Play {
  name: string
  /** Out of the sum of all shares. */
  share: number
  /** `NNN` of the magic number `+56 9 8888 TNNN`; none for an ordinary recipient. */
  phone?: string
  /** Local part of the magic address. */
  mail?: string
  /** It plays once per message, not on every call. */
  once?: true
  /** What becomes of a message that went out; `none`: nobody ever reports about it. */
  end: 'arrives' | 'fails' | 'none'
}

/** Answers after this: a kill meets calls that are under way. */
export const slowMs = 150

const plays: readonly Play[] = [
  { name: 'plain', share: 40, end: 'arrives' },
  { name: 'slow', share: 18, mail: 'slow', end: 'arrives' },
  { name: 'before_answer', share: 5, phone: '014', mail: 'before-answer', end: 'arrives' },
  { name: 'duplicate', share: 4, phone: '008', mail: 'duplicate', end: 'arrives' },
  { name: 'reordered', share: 4, phone: '009', mail: 'reordered', end: 'arrives' },
  { name: 'late', share: 3, phone: '010', mail: 'late', end: 'arrives' },
  { name: 'reset_after', share: 4, phone: '006', mail: 'reset-after', end: 'arrives' },
  { name: 'hang_after', share: 2, phone: '007', mail: 'hang-after', end: 'arrives' },
  { name: 'server_error_after', share: 3, phone: '016', mail: '500-after', end: 'arrives' },
  { name: 'rate_limited', share: 3, phone: '001', mail: '429', once: true, end: 'arrives' },
  { name: 'reset', share: 2, phone: '005', mail: 'reset-before', once: true, end: 'arrives' },
  { name: 'failed', share: 2, phone: '011', mail: 'bounce', end: 'fails' },
  { name: 'silent', share: 10, phone: '017', mail: 'silent', end: 'none' },
]

export interface PlannedMessage {
  reference: string
  route: Route
  play: Play
  path: string
  body: Record<string, unknown>
  idempotencyKey: string
  /** Milliseconds from the start of the run. */
  dueMs: number
}

export interface PlannedInbound {
  route: Route
  /** What makes it recognisable. */
  text: string
  from: string
  isAnswered: boolean
  dueMs: number
}

/** The word that the automatic replies wait for. */
export const keyword = 'horario'

const whatsappNumbersPerPlay = 6
const burstSize = 12
const shareInBursts = 0.35

/** Messages spread evenly over the time, a third of them in bursts. */
export function planMessages(random: Random, count: number, durationMs: number): PlannedMessage[] {
  let burst = { left: 0, dueMs: 0 }
  return Array.from({ length: count }, (_, index) => {
    const evenMs = (index / count) * durationMs
    if (burst.left === 0 && random.next() < shareInBursts / burstSize)
      burst = { left: burstSize, dueMs: evenMs }
    const dueMs = burst.left > 0 ? burst.dueMs : evenMs
    burst.left = Math.max(0, burst.left - 1)
    return planMessage(random, index, dueMs)
  })
}

function planMessage(random: Random, index: number, dueMs: number): PlannedMessage {
  const route = routes[index % routes.length]!
  const play = pickPlay(random)
  const reference = `order-${index}`
  const to =
    route.channel === 'email' ? writeMail(play, index) : writePhone(play, index % whatsappNumbersPerPlay)
  const text = `${reference} is on its way`
  return {
    reference,
    route,
    play,
    path: `/messaging/send/${route.channel}`,
    body: {
      tenant_id: route.tenantId,
      to,
      reference,
      body: text,
      ...(route.channel === 'email' && { subject: text }),
    },
    idempotencyKey: `key-${reference}`,
    dueMs,
  }
}

function pickPlay(random: Random): Play {
  let left = random.next() * plays.reduce((sum, { share }) => sum + share, 0)
  return plays.find(({ share }) => (left -= share) < 0) ?? plays[0]!
}

/** A bounce closes an address for good, so each message has an address of its own, except where a rule names it. */
function writeMail({ name, mail, once }: Play, index: number): string {
  if (name === 'slow') return slowMail(index % whatsappNumbersPerPlay)
  return `${mail ?? 'ana'}${once ? '+1' : ''}@m${index}.example.com`
}

function slowMail(index: number): string {
  return `slow@s${index}.example.com`
}

function writePhone({ name, phone, once }: Play, index: number): string {
  if (phone === undefined) return `+56971${name === 'slow' ? '1' : '0'}0000${index}`
  return `+5698888${once ? 1 : index + 2}${phone}`
}

/** Everybody who may be written to on WhatsApp, for they must write first. */
export function listPhones(): string[] {
  const indexes = Array.from({ length: whatsappNumbersPerPlay }, (_, index) => index)
  return [...new Set(plays.flatMap((play) => indexes.map((index) => writePhone(play, index))))]
}

/** Recipients whose sends are answered slowly. */
export function listSlow(): string[] {
  const slow = plays.find(({ name }) => name === 'slow')!
  return Array.from({ length: whatsappNumbersPerPlay }, (_, index) => [
    writePhone(slow, index),
    slowMail(index),
  ]).flat()
}

/** Customers who write while messages go out, each once; every other one asks what an automatic reply answers. */
export function planInbounds(random: Random, count: number, durationMs: number): PlannedInbound[] {
  return Array.from({ length: count }, (_, index) => {
    const route = routes[index % routes.length]!
    const isAnswered = random.next() < 0.5
    return {
      route,
      text: `question-${index} ${isAnswered ? keyword : 'order'}`,
      from:
        route.channel === 'email'
          ? `customer@c${index}.example.com`
          : `+5697${String(2_000_000 + index).slice(-7)}`,
      isAnswered,
      dueMs: random.between(0, durationMs),
    }
  })
}
