/** `Name <a@b.c>` or `a@b.c` taken apart; null when it is neither. */
export function parseMailbox(text: string): { email: string; name: string | null } | null {
  const [, name, bracketed] = /^\s*(?:"?([^"<>]*?)"?\s*)?<([^<>]+)>\s*$/.exec(text) ?? []
  const email = (bracketed ?? text).trim()
  return isEmail(email) ? { email, name: name?.trim() || null } : null
}

export function isEmail(text: unknown): text is string {
  return (
    typeof text === 'string' &&
    text.length <= 254 &&
    /^[^\s@<>,;:"()]+@(?:[^\s@<>,;:"().]+\.)+[^\s@<>,;:"().]{2,}$/.test(text)
  )
}

export function domainOf(email: string): string {
  return email.slice(email.lastIndexOf('@') + 1).toLowerCase()
}
