import { z } from 'zod'

const milliseconds = z.number().int().nullable()

export const Timings = z.object({
  lookup_ms: milliseconds.meta({ description: 'The look-up of the name.' }),
  connect_ms: milliseconds.meta({
    description: 'With TLS. This and the look-up are null where a kept connection was used again.',
  }),
  first_byte_ms: milliseconds.meta({
    description: 'From the moment the request left until the answer began; null without an answer.',
  }),
})
export type Timings = z.infer<typeof Timings>

export const SentRequest = z.object({
  headers: z.record(z.string(), z.string()).meta({
    description: 'As they were sent; without what every call has: host, connection, accept-encoding, length.',
  }),
  header_names: z.array(z.string()).meta({
    description: 'The endpoint’s own headers that were sent; their values are never shown.',
  }),
  body_sha256: z.string().meta({ description: 'SHA-256 of the bytes of the body, in hex.' }),
})
export type SentRequest = z.infer<typeof SentRequest>
