const hidden = '[redacted]'

/** A shorter secret would blank out ordinary words; credentials are longer. */
const shortestSecret = 6

/** The pattern of a longer secret holds its two ends only: a pattern grows with the secret, and its cost faster. */
const longestWhole = 128
const endLength = 64
const maxPatterns = 500

/** Credentials that show by their shape that they are one. The first group, if any, stays. */
const knownShapes: readonly RegExp[] = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /(\b(?:[Bb]earer|BEARER|[Bb]asic|BASIC)(?:\s|%20|\+)+)(?=[\w.~-]*[\d=+/_~%]|\w+[A-Z])[\w.~+/=%-]{4,}/g,
  /\bSG\.[\w-]{4,}(?:\.[\w-]+)?/g,
  /\bre_(?=\w*[\dA-Z])\w{8,}/g,
  /\bEAA[A-Za-z\d]{8,}/g,
  /\bwhsec_[\w+/=-]{8,}/g,
  /\bpck_\w{8,}/g,
  /\b(?:sk|rk)_(?:live|test)_\w{8,}/g,
  /\bAPP_USR-[\w-]{8,}/g,
  /\bAIza[\w-]{30,}/g,
  /\beyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]*/g,
  /(\bhttps?:\/\/)[^\s/@:"'<>]{0,256}:[^\s/@"'<>]{0,256}(?=@)/gi,
  /(\b(?:access_token|auth_?token|api_?key|client_secret|app_?secret|appsecret_proof|password)["']?\s*(?:=|:|%3D|%3A)\s*["']?)[^\s"'&,;<>]{4,}/gi,
]

const secretHeader = /authorization|cookie|signature|secret|password|token|(?:api|access|auth)[-_]?key/i

/**
 * The text without the given secrets, in whatever way they are written, and without known kinds of credentials.
 * The longest come first, so that of two secrets, one inside the other, nothing is left over.
 */
export function scrubText(text: string, secrets: readonly string[] = []): string {
  const withoutGiven = secrets
    .filter((secret) => secret.length >= shortestSecret)
    .toSorted((left, right) => right.length - left.length)
    .reduce((left, secret) => left.replace(matchSecret(secret), hidden), text)
  return knownShapes.reduce(
    (left, shape) => left.replace(shape, (_match, kept) => (typeof kept === 'string' ? kept : '') + hidden),
    withoutGiven,
  )
}

/** Headers for a log: the names stay, the values of those that carry credentials or signatures do not. */
export function scrubHeaders(
  headers: Readonly<Record<string, string>>,
  secrets: readonly string[] = [],
): Record<string, string> {
  const pairs = Object.entries(headers).map(([name, value]) => [
    name,
    secretHeader.test(name) ? hidden : scrubText(value, secrets),
  ])
  return Object.fromEntries(pairs)
}

const patterns = new Map<string, RegExp>()

/** The same few secrets are looked for again and again; the oldest patterns make room. */
function matchSecret(secret: string): RegExp {
  const known = patterns.get(secret)
  if (known !== undefined) return known
  const forms = secret.length > longestWhole ? matchEnds(secret) : matchWhole(secret)
  const pattern = new RegExp(forms.join('|'), 'g')
  const [oldest] = patterns.keys()
  if (oldest !== undefined && patterns.size >= maxPatterns) patterns.delete(oldest)
  patterns.set(secret, pattern)
  return pattern
}

function matchWhole(secret: string): string[] {
  return [matchEscaped(secret), ...encodeBase64(secret).map(escapeRegExp), ...encodeHex(secret)]
}

/** From its beginning to its end; where the end is missing, to the next blank or quote. */
function matchEnds(secret: string): string[] {
  const characters = Array.from(secret)
  const start = characters.slice(0, endLength).join('')
  const end = characters.slice(-endLength).join('')
  const between = secret.length - start.length - end.length
  const rest = `(?:[^]{${between},${between * longestEscape}}?${matchEscaped(end)}|[^\\s"']*)`
  return [
    matchEscaped(start) + rest,
    ...encodeBase64(start).map((form) => `${escapeRegExp(form)}[\\w+/=-]*`),
    ...encodeHex(start).map((form) => `${form}[\\da-fA-F]*`),
  ]
}

/** Of one character in any escaped form. */
const longestEscape = 12

/**
 * Each character as it is, percent-encoded, or escaped as in JSON (up to three times), in any mixture. A run of
 * backslashes is one piece, or the ways to divide it up would be endless.
 */
function matchEscaped(secret: string): string {
  const pieces = secret.match(/\\+|[^\\]/gu) ?? []
  return pieces
    .map((piece) => (piece.startsWith('\\') ? matchBackslashes(piece.length) : matchCharacter(piece)))
    .join('')
}

function matchBackslashes(count: number): string {
  return `(?:\\\\{${count},${count * 8}}|(?:%5[cC]){${count}}|(?:${escapes}u005[cC]){${count}})`
}

function matchCharacter(character: string): string {
  const percent = Array.from(Buffer.from(character), (byte) => `%${matchHex(byte, 2)}`).join('')
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
  const unicode = units.map((unit) => `${escapes}u${matchHex(unit, 4)}`).join('')
  const forms = [escapeRegExp(character), percent, unicode]
  const inJson = character === '/' ? '\\/' : JSON.stringify(character).slice(1, -1)
  if (/^\\.$/.test(inJson)) forms.push(`${escapes}${escapeRegExp(inJson.slice(1))}`)
  if (character === ' ') forms.push('\\+')
  return `(?:${forms.join('|')})`
}

const escapes = '\\\\{1,7}'

function matchHex(value: number, digits: number): string {
  const hex = value.toString(16).padStart(digits, '0')
  return hex.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`)
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
}

/**
 * The part of a base64 text that only depends on the secret, for each of the three ways in which it can lie
 * among other bytes (as in `user:secret`), in both alphabets.
 */
function encodeBase64(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const base64 = [0, 1, 2].map((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), bytes])
    const start = Math.ceil((offset * 8) / 6)
    const end = Math.floor((whole.length * 8) / 6)
    return whole.toString('base64').slice(start, end)
  })
  const base64url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))
  return [...new Set([...base64, ...base64url])]
}

function encodeHex(secret: string): string[] {
  const hex = Buffer.from(secret).toString('hex')
  return [...new Set([hex, hex.toUpperCase()])]
}
