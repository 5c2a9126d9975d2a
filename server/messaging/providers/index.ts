import { meta } from './meta.ts'
import type { MessagingProvider } from './provider.ts'
import { resend } from './resend.ts'
import { sendgrid } from './sendgrid.ts'
import { twilio } from './twilio.ts'

export const messagingProviders: readonly MessagingProvider[] = [twilio, meta, sendgrid, resend]

export function findMessagingProvider(id: string): MessagingProvider | undefined {
  return messagingProviders.find((provider) => provider.id === id)
}
