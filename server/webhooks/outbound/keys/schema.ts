import { z } from 'zod'

export const signing = z.enum(['hmac', 'ed25519']).meta({
  description:
    'hmac: a shared secret (`v1`). ed25519: a key pair of the endpoint, whose public key is published (`v1a`).',
})

export const PublicKey = z.object({
  key: z.string().meta({ description: '`whpk_…`' }),
  expires_at: z.iso
    .datetime()
    .nullable()
    .meta({ description: 'Of a key that was rotated away: until when it signs too.' }),
})
export type PublicKey = z.infer<typeof PublicKey>

export const PublishedKeys = z.object({ endpoint_id: z.string(), keys: z.array(PublicKey) })
export type PublishedKeys = z.infer<typeof PublishedKeys>
