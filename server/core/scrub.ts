const hidden = '[redacted]'

/** A shorter secret would blank out ordinary words; credentials are longer. */
const shortestSecret = 6

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
  /(\b(?:pi|seti)_\w{4,64}?_secret_)\w{4,}/g,
  /\bAPP_USR-[\w-]{8,}/g,
  /\bAIza[\w-]{30,}/g,
  /\beyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]*/g,
  /(\bhttps?:\/\/)[^\s/@:"'<>]{0,256}:[^\s/@"'<>]{0,256}(?=@)/gi,
  /(\b(?:nats|tls):\/\/)[^\s/@"'<>]{1,512}(?=@)/gi,
  /((?:\b|_)(?:access_token|auth_?token|api_?key|client_secret|app_?secret|appsecret_proof|password)["']?\s*(?:=|:|%3D|%3A)\s*["']?)[^\s"'&,;<>]{4,}/gi,
]

const secretHeader = /authorization|cookie|signature|secret|password|token|(?:api|access|auth)[-_]?key/i

/** The text without the given secrets, in whatever way they are written, and without known kinds of credentials. */
export function scrubText(text: string, secrets: readonly string[] = []): string {
  return knownShapes.reduce(
    (left, shape) => left.replace(shape, (_match, kept) => (typeof kept === 'string' ? kept : '') + hidden),
    hideSecrets(text, secrets),
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

/** In time linear in the text whatever it holds: a secret may be any value that a tenant entered. */
function hideSecrets(text: string, secrets: readonly string[]): string {
  const needles = secrets.filter((secret) => secret.length >= shortestSecret).flatMap(listForms)
  if (needles.length === 0) return text
  const found = listViews(text).flatMap((view) => needles.flatMap((needle) => findAll(view, needle)))
  let shown = ''
  let from = 0
  for (const range of found.toSorted((left, right) => left.start - right.start)) {
    if (range.start >= from) shown += text.slice(from, range.start) + hidden
    from = Math.max(from, range.end)
  }
  return shown + text.slice(from)
}

/** A text, or what it says once a layer of escapes is taken off. */
interface View {
  text: string
  /** Where in the whole text each character began, and where the last one ended. */
  places: Uint32Array
}

function findAll({ text, places }: View, needle: string): Array<{ start: number; end: number }> {
  const ranges = []
  for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, at + needle.length)) {
    ranges.push({ start: places[at] ?? 0, end: places[at + needle.length] ?? 0 })
  }
  return ranges
}

/** The text and all that it can be read as under three layers of escapes, such as JSON inside a form. */
function listViews(text: string): View[] {
  const views = new Map<string, View>()
  let layer: View[] = [viewAsIs(text)]
  for (let depth = 0; depth <= maxLayers; depth += 1) {
    const fresh = layer.filter((view) => !views.has(view.text))
    for (const view of fresh) views.set(view.text, view)
    layer = fresh.flatMap((view) => escapes.map((escape) => decodeView(view, escape)))
  }
  return [...views.values()]
}

function viewAsIs(text: string): View {
  const places = new Uint32Array(text.length + 1)
  for (let at = 0; at < places.length; at += 1) places[at] = at
  return { text, places }
}

const maxLayers = 3

interface Escape {
  pattern: RegExp
  /** Never more characters than the escape has. */
  decode: (escape: string) => string
}

const escapes: readonly Escape[] = [
  { pattern: /\\(?:u[\da-fA-F]{4}|["\\/bfnrt])/g, decode: decodeJson },
  {
    pattern:
      /%[0-7][\da-f]|%[cd][\da-f](?:%[89ab][\da-f])|%e[\da-f](?:%[89ab][\da-f]){2}|%f[0-7](?:%[89ab][\da-f]){3}/gi,
    decode: decodePercent,
  },
  { pattern: /\+/g, decode: () => ' ' },
]

function decodeJson(escape: string): string {
  const letter = escape.charAt(1)
  if (escape.length > 2) return String.fromCharCode(Number.parseInt(escape.slice(2), 16))
  return jsonLetters[letter] ?? letter
}

const jsonLetters: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

function decodePercent(escape: string): string {
  try {
    return decodeURIComponent(escape)
  } catch {
    return escape
  }
}

function decodeView(view: View, { pattern, decode }: Escape): View {
  if (view.text.search(pattern) === -1) return view
  const places = new Uint32Array(view.places.length)
  let text = ''
  let from = 0
  const append = (value: string, start: number, step: 0 | 1) => {
    for (let at = 0; at < value.length; at += 1) {
      places[text.length + at] = view.places[start + at * step] ?? 0
    }
    text += value
  }
  for (const match of view.text.matchAll(pattern)) {
    append(view.text.slice(from, match.index), from, 1)
    append(decode(match[0]), match.index, 0)
    from = match.index + match[0].length
  }
  append(view.text.slice(from), from, 1)
  places[text.length] = view.places.at(-1) ?? 0
  return { text, places: places.subarray(0, text.length + 1) }
}

/**
 * A secret as it is, in hex, and the part of a base64 text that only depends on it, for each of the three ways
 * in which it can lie among other bytes (as in `user:secret`), in both alphabets.
 */
function listForms(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const base64 = [0, 1, 2].map((offset) => {
    const whole = Buffer.concat([Buffer.alloc(offset), bytes])
    const start = Math.ceil((offset * 8) / 6)
    const end = Math.floor((whole.length * 8) / 6)
    return whole.toString('base64').slice(start, end)
  })
  const base64url = base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))
  const hex = bytes.toString('hex')
  return [...new Set([secret, ...base64, ...base64url, hex, hex.toUpperCase()])]
}
