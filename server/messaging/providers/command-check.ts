import { describeError } from '#connections'
import type { ErrorRule, NotDone } from '#connections'
import type { MessagingProvider, SendCommand } from './provider.ts'

type Facts = Pick<MessagingProvider, 'title' | 'channels' | 'capabilities'>

/** Refused before any call. `config` is the connection's fault, `content` the message's. */
export function refuseCommand(kind: 'config' | 'content', message: string, failover = false): NotDone {
  const rule: ErrorRule = [kind, 'never', failover]
  return { outcome: 'refused', error: describeError(rule, { message }) }
}

/** Why this provider can't carry a command, judged by its capabilities alone; undefined when it can. */
export function checkCommand(command: SendCommand, facts: Facts): NotDone | undefined {
  if (command.template?.name === '') return refuseCommand('content', 'The template has no name.')
  const reason = findMissingCapability(command, facts)
  return reason === undefined ? undefined : refuseCommand('content', `${facts.title} ${reason}`, true)
}

function findMissingCapability(command: SendCommand, { channels, capabilities }: Facts): string | undefined {
  if (!channels.includes(command.channel)) return `carries no ${command.channel} messages`
  if (command.template && !capabilities.templates) return 'has no templates'
  if (command.media.length > 0 && !capabilities.media)
    return 'carries no media: attach the file or link to it'
  if (command.attachments.length > 0 && !capabilities.attachments) return 'carries no attachments: send media'
  const limit = capabilities.maxTextLength[command.channel]
  if (limit !== undefined && (command.text?.length ?? 0) > limit) return `carries at most ${limit} characters`
  return undefined
}
