import { z } from 'zod'
import { exportVersion, laterFields, provenFields } from './block.ts'

const count = z.number().int().min(0)
const named = {
  kind: z.literal('chain'),
  product_id: z.string(),
  tenant_id: z.string(),
  key_id: z.string(),
  public_key: z.string(),
  attempts_kept_since: z.iso.datetime(),
}
/** Of files from before pages were signed. */
const chainOfBefore = z.strictObject({ ...named, version: z.literal([1, 2]) })
const chain = z.strictObject({
  ...named,
  version: z.literal(exportVersion),
  exported_at: z.iso.datetime(),
  after: count,
  checkpoint: count.nullable(),
  first_block: count.nullable(),
  last_block: count.nullable(),
  head_block: count,
  head_hash: z.string(),
  signature: z.string(),
})

function anything<Field extends string>(fields: readonly Field[]) {
  return z.object(
    Object.fromEntries(fields.map((field) => [field, z.unknown()])) as Record<Field, z.ZodUnknown>,
  )
}

/** What stood there beside what is proven would look proven too. */
const attempt = z.strictObject({
  ...anything(provenFields).shape,
  ...anything(laterFields).partial().shape,
  kind: z.literal('attempt'),
  id: z.string(),
  place: count,
  product_id: z.string(),
})

/** Of an export, as a verifier reads them. */
export const Line = z.discriminatedUnion('kind', [
  z.discriminatedUnion('version', [chainOfBefore, chain]),
  z.strictObject({
    kind: z.literal('checkpoint'),
    product_id: z.string(),
    tenant_id: z.string(),
    number: count,
    last_place: count,
    hash: z.string(),
    sealed_at: z.string(),
    attempts: count,
    signature: z.string(),
  }),
  z.strictObject({
    kind: z.literal('block'),
    product_id: z.string(),
    tenant_id: z.string(),
    number: count,
    after_place: count,
    last_place: count,
    attempts: count,
    root: z.string(),
    previous: z.string(),
    sealed_at: z.string(),
    hash: z.string(),
    key_id: z.string(),
    signature: z.string(),
    leaves: z.string().nullable(),
  }),
  attempt,
  z.strictObject({ kind: z.literal('end'), next_after: count.nullable(), block: count, hash: z.string() }),
])
export type Line = z.infer<typeof Line>
type Of<Kind extends Line['kind']> = Extract<Line, { kind: Kind }>
export type ChainLine = Of<'chain'>
export type CheckpointLine = Of<'checkpoint'>
export type BlockLine = Of<'block'>
export type AttemptLine = Of<'attempt'>
export type EndLine = Of<'end'>
