import { parsePhoneNumberFromString } from 'libphonenumber-js/min'
import { z } from 'zod'
import type { Channel } from './providers/provider.ts'

const businessScopedId = /^[A-Z]{2}\.[A-Za-z0-9]{6,64}$/
const email = z.email().max(254)

/** The one form an address is stored and compared in, or what is wrong with it. */
export function normalizeAddress(channel: Channel, text: string): { address: string } | { problem: string } {
  if (channel === 'email') return normalizeEmail(text)
  if (channel === 'whatsapp' && businessScopedId.test(text)) return { address: text }
  return normalizePhone(text.replace(/^whatsapp:/, ''))
}

function normalizePhone(text: string): { address: string } | { problem: string } {
  const number = parsePhoneNumberFromString(text, { extract: false })
  if (!text.trim().startsWith('+'))
    return { problem: 'must be a phone number in international form, such as +56988888888' }
  if (number === undefined || !number.isPossible()) return { problem: 'is not a phone number that can exist' }
  return { address: number.number }
}

/** Only the domain is lower-cased: the local part is the receiver's business. */
function normalizeEmail(text: string): { address: string } | { problem: string } {
  const bare = text.trim()
  if (!email.safeParse(bare).success) return { problem: 'must be an e-mail address such as ana@example.com' }
  const at = bare.lastIndexOf('@')
  return { address: bare.slice(0, at) + bare.slice(at).toLowerCase() }
}

/** What suppression and auto-reply caps compare by: no two spellings of one mailbox. */
export function addressKey(channel: string, address: string): string {
  return channel === 'email' ? address.toLowerCase() : address
}
