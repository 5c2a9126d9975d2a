import { z } from 'zod'
import type { Callback, CallbackInput } from '../callbacks.ts'
import type { Call, Reply } from '../http.ts'
import type { ProviderId } from '../world.ts'

/** One provider as the sandbox hosts it. */
export type Simulator = {
  id: ProviderId
  title: string
  answer(call: Call): Promise<Reply>
  /** Makes or changes an account; answers what its owner needs to verify callbacks. Throws ZodError on bad input. */
  putAccount(name: string, input: unknown): Promise<AccountView>
  listAccounts(): AccountView[]
  /** A customer's message: kept, and reported by the signed webhook. Throws ZodError on bad input. */
  receive(input: unknown): Promise<Received>
  /** A valid status callback about a message that never was; damaged by whoever asks for it. */
  sample(account: string | undefined, url: string | undefined): CallbackInput
  /** Forgets what is not an account. */
  clear(): void
  clearAccounts(): void
}

export type AccountView = { provider: ProviderId; account: string } & Record<string, unknown>

export type Received = { message_ids: string[]; callback: Callback | null }

export const inboundMediaSchema = z.strictObject({
  content_base64: z.base64().optional(),
  content_type: z.string().default('image/png'),
  filename: z.string().optional(),
})

type InboundMedia = z.infer<typeof inboundMediaSchema>

/** A transparent pixel: what a customer sends when the test does not care. */
const PIXEL_PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='

export function mediaBytes(media: InboundMedia): Buffer {
  return Buffer.from(media.content_base64 ?? PIXEL_PNG, 'base64')
}

/** A fault of the control API's input that a schema can't see. */
export function inputError(field: string, message: string): z.ZodError {
  return new z.ZodError([{ code: 'custom', path: [field], message, input: undefined }])
}
