import { z } from 'zod'

const chain = {
  tenant_id: z.string().optional().meta({ description: 'Whose chain; default: the product’s own.' }),
  product_id: z
    .string()
    .optional()
    .meta({ description: 'For the own chain of a product, with an admin key.' }),
}

export const ChainQuery = z.strictObject(chain)
export type ChainQuery = z.infer<typeof ChainQuery>

export const ExportQuery = z.strictObject({
  ...chain,
  after: z.coerce.number().int().min(0).default(0).meta({ description: 'Blocks behind this one.' }),
})
export type ExportQuery = z.infer<typeof ExportQuery>

export const ChainHead = z.object({
  product_id: z.string(),
  tenant_id: z.string().nullable(),
  block: z.number().int().meta({ description: '0 while there is none.' }),
  hash: z.string().meta({ description: 'Of the newest block. Keep it: an export must still have it later.' }),
  key_id: z.string(),
  public_key: z.string().meta({ description: 'ed25519, SPKI as base64url. Keep it or its key_id too.' }),
})
export type ChainHead = z.infer<typeof ChainHead>
