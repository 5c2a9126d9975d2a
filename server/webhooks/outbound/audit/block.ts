import { hashText } from './signature.ts'

/** What of an attempt is in the chain, in this order. */
export const provenFields = [
  'id',
  'place',
  'delivery_id',
  'event_id',
  'endpoint_id',
  'tenant_id',
  'attempt',
  'outcome',
  'status',
  'error',
  'response',
  'duration_ms',
  'next_attempt_at',
  'attempted_at',
  'number',
] as const

/** Behind the others where an attempt has any of them: one from before they were recorded keeps its hash. */
export const laterFields = [
  'lookup_ms',
  'connect_ms',
  'first_byte_ms',
  'body_sha256',
  'version',
  'signature',
  'header_names',
] as const

/** Of an export: with other fields or lines an earlier verifier would call an honest one changed. */
export const exportVersion = 3
const headerVersion = 1

export type ProvenAttempt = Record<(typeof provenFields)[number], unknown> &
  Partial<Record<(typeof laterFields)[number], unknown>> & { id: string; place: number }

/** What is hashed and signed of a block. */
export interface BlockHeader {
  product_id: string
  tenant_id: string
  number: number
  /** It has every attempt of its chain whose place is after this one and not after `last_place`. */
  after_place: number
  last_place: number
  attempts: number
  root: string
  previous: string
  sealed_at: string
}

/** Of the block before the first one. */
export const noHash = ''

export function leafOf(attempt: ProvenAttempt): string {
  const proven = provenFields.map((field) => attempt[field] ?? null)
  const later = laterFields.map((field) => attempt[field] ?? null)
  const isEarly = later.every((value) => value === null)
  return `${attempt.id} ${hashText(JSON.stringify(isEarly ? proven : [...proven, ...later]))}`
}

export function idsOf(leaves: string): string[] {
  return leaves.split('\n').map((leaf) => leaf.split(' ')[0] ?? '')
}

/** Leaves in the order of their places, a line each. */
export function rootOf(leaves: string): string {
  return hashText(leaves)
}

/** The one spelling of a header, whatever the order of its fields. */
export function spellHeader(header: BlockHeader): string {
  const { product_id: product, tenant_id: tenant, number, after_place: after, last_place: last } = header
  const { attempts, root, previous, sealed_at: sealedAt } = header
  return JSON.stringify([
    headerVersion,
    product,
    tenant,
    number,
    after,
    last,
    attempts,
    root,
    previous,
    sealedAt,
  ])
}
