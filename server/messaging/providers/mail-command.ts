import type { NotDone } from '#connections'
import { refuseCommand } from './command-check.ts'
import { type Mailbox, readMailbox } from './mailbox.ts'
import type { SendCommand } from './provider.ts'

/** What every e-mail connection knows about its sender. */
interface MailAccount {
  fromEmail: string
  fromName?: string | undefined
  replyTo?: string | undefined
}

export interface MailAddresses {
  from: Mailbox
  to: Mailbox
  replyTo?: Mailbox
}

/** Who writes to whom; refused unless every address is a single one and the mail has something to say. */
export function readMailAddresses(command: SendCommand, account: MailAccount): MailAddresses | NotDone {
  const from = readMailbox(command.from ?? account.fromEmail)
  if (!from) return refuseCommand('content', 'The sender is not a single e-mail address.')
  const to = readMailbox(command.to)
  if (!to) return refuseCommand('content', 'The recipient is not a single e-mail address.')
  const answers = command.replyTo ?? account.replyTo
  const replyTo = answers === undefined ? undefined : readMailbox(answers)
  if (answers !== undefined && !replyTo) {
    return refuseCommand('content', 'The reply address is not a single e-mail address.')
  }
  if (!command.template && !command.subject) return refuseCommand('content', 'An e-mail needs a subject.')
  if (!command.template && !command.text && !command.html) {
    return refuseCommand('content', 'The e-mail has neither text nor HTML.')
  }
  const name = from.name ?? (from.email === account.fromEmail ? account.fromName : undefined)
  return { from: { email: from.email, ...(name && { name }) }, to, ...(replyTo && { replyTo }) }
}

/** RFC 3834: tells other machines not to answer. */
export const automaticMailHeaders = { 'Auto-Submitted': 'auto-replied' } as const
