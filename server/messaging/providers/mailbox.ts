export interface Mailbox {
  email: string
  name?: string
}

const emailPattern = /^[^\s@<>()[\],;:"\\]+@[^\s@<>()[\],;:"\\]+$/
const namedPattern = /^(?:"((?:[^"\\]|\\.)*)"\s*|([^"<>@,;:\\]*))<([^<>]+)>$/
const maxEmailLength = 254
const maxMailboxLength = 1_000

/** One address, bare or as `Name <a@b>`; undefined for anything else: lists, line breaks, no address. */
export function readMailbox(text: string): Mailbox | undefined {
  if (text.length > maxMailboxLength) return undefined
  const line = text.trim()
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(line)) return undefined
  const named = namedPattern.exec(line)
  const email = (named?.[3] ?? line).trim()
  if (!emailPattern.test(email) || email.length > maxEmailLength) return undefined
  const name = (named?.[1]?.replaceAll(/\\(.)/g, '$1') ?? named?.[2] ?? '').trim()
  return name === '' ? { email } : { email, name }
}

/** As a mail header writes it; names with special characters are quoted. */
export function writeMailbox({ email, name }: Mailbox): string {
  if (name === undefined) return email
  const quoted = /[^\p{L}\p{N} '&!_-]/u.test(name) ? `"${name.replaceAll(/["\\]/g, '\\$&')}"` : name
  return `${quoted} <${email}>`
}

/** Header lines of a mail, unfolded; lower-case names, repeated ones joined by a line break. */
export function readMailHeaders(block: string): Record<string, string> {
  const headers = new Map<string, string>()
  for (const line of block.replaceAll(/\r?\n[ \t]+/g, ' ').split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    const earlier = headers.get(name)
    headers.set(name, earlier === undefined ? value : `${earlier}\n${value}`)
  }
  return Object.fromEntries(headers)
}

/**
 * Whether a machine wrote a mail: auto-submitted, bulk or list mail, an empty return path, or an
 * address nobody reads. Such mail is never answered automatically.
 */
export function isAutomatedMail(headers: Record<string, string>, from: string, returnPath?: string): boolean {
  const submitted = headers['auto-submitted']?.toLowerCase() ?? 'no'
  if (!submitted.startsWith('no')) return true
  if (/\b(bulk|list|junk|auto_reply)\b/i.test(headers.precedence ?? '')) return true
  if (machineHeaders.some((name) => headers[name] !== undefined)) return true
  if ([returnPath, headers['return-path']].some((path) => path?.replaceAll(/[<>\s]/g, '') === '')) return true
  return /^(mailer-daemon|postmaster|no-?reply|do-?not-?reply)@/i.test(from)
}

const machineHeaders = [
  'list-id',
  'list-unsubscribe',
  'x-auto-response-suppress',
  'x-autoreply',
  'x-autorespond',
]
