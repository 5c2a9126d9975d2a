import { z } from 'zod'
import { secretField } from '#connections'
import { readMailbox } from './mailbox.ts'

/** A visible field whose fault is told in our words. */
export function patternField(description: string, pattern: RegExp, fault: string): z.ZodString {
  return z.string().regex(pattern, fault).meta({ description })
}

/** A secret that travels in a header: no blanks or line breaks, which a paste often brings along. */
export function tokenField(description: string, prefix = ''): z.ZodString {
  const fault = `${prefix && `Begins with ${prefix} and has `}${prefix ? 'no' : 'Has no'} spaces or line breaks.`
  return secretField(description).regex(new RegExp(`^${prefix.replaceAll('.', '\\.')}[\\x21-\\x7e]+$`), fault)
}

export function emailField(description: string): z.ZodString {
  return z
    .string()
    .refine((text) => readMailbox(text)?.email === text, 'Write one address such as noreply@example.com.')
    .meta({ description })
}

/** A display name for mail headers. */
export function nameField(description: string): z.ZodString {
  return patternField(description, /^[^\p{Cc}]{1,100}$/u, 'Up to 100 characters, no line breaks.')
}
