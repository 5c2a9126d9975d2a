import { z } from 'zod'

const slug = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9_-]{1,62}$/,
    'must be 2 to 63 lower-case letters, digits, _ or -, such as tableflow_123',
  )

const scopes = [
  '*',
  'tenants:read',
  'tenants:write',
  'keys:read',
  'keys:write',
  'messaging:send',
  'messaging:read',
  'messaging:config',
  'payments:write',
  'payments:read',
  'payments:config',
  'webhooks:read',
  'webhooks:write',
  'events:write',
  'alerts:read',
  'alerts:write',
] as const

export const Scope = z.enum(scopes)
export type Scope = z.infer<typeof Scope>

export const NewProduct = z.strictObject({ id: slug, name: z.string().min(1).max(200) })
export const Product = z.object({ id: z.string(), name: z.string(), created_at: z.iso.datetime() })

const retentionDays = z.literal([7, 30, 90, 365])
export type RetentionDays = z.infer<typeof retentionDays>

const keptAsLong = 'Default, and null: as long as the rows themselves. Not above `retention_days`.'
const retention = {
  retention_days: retentionDays.optional().meta({
    description:
      'How many days events, their deliveries and provider webhooks are kept; 30 by default. What is gone does not come back.',
  }),
  raw_retention_days: retentionDays
    .nullable()
    .optional()
    .meta({
      description: `How many days the bodies of events and the requests of provider webhooks are kept. ${keptAsLong}`,
    }),
}

export const NewTenant = z.strictObject({
  id: slug,
  product_id: slug,
  name: z.string().min(1).max(200),
  ...retention,
})
export type NewTenant = z.infer<typeof NewTenant>
export const TenantChange = z.strictObject(retention)
export type TenantChange = z.infer<typeof TenantChange>
export const Tenant = z.object({
  id: z.string(),
  product_id: z.string(),
  name: z.string(),
  retention_days: retentionDays,
  raw_retention_days: retentionDays,
  created_at: z.iso.datetime(),
})

export const NewKey = z.strictObject({
  name: z.string().min(1).max(200).default('default'),
  scopes: z.array(Scope).min(1).default(['*']),
  expires_at: z.iso.datetime({ offset: true }).optional(),
})
export const Key = z.object({
  id: z.string(),
  name: z.string(),
  prefix: z.string().meta({ description: 'How the key begins, to recognise it by.' }),
  product_id: z.string().nullable(),
  tenant_id: z.string().nullable(),
  scopes: z.array(z.string()),
  expires_at: z.iso.datetime().nullable(),
  last_used_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
})
export const CreatedKey = Key.extend({ key: z.string().meta({ description: 'Shown this once.' }) })
export type NewKey = z.infer<typeof NewKey>
export type Key = z.infer<typeof Key>
