import { readMailHeaders } from './mailbox.ts'

export interface Part {
  name: string
  filename?: string
  contentType?: string
  bytes: Buffer
}

const maxParts = 500
const maxHeaderBytes = 16_384
const lineEnd = Buffer.from('\r\n')
const headerEnd = Buffer.from('\r\n\r\n')

/**
 * The parts of a `multipart/form-data` body in their order, read from raw bytes. Undefined unless the
 * whole body is well formed: opened, closed, every part named, nothing around it but line ends.
 */
export function readMultipart(body: Buffer, contentType: string | undefined): Part[] | undefined {
  const boundary = readBoundary(contentType)
  if (boundary === undefined) return undefined
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  const opened = Buffer.concat([lineEnd, body])
  if (!startsWith(opened, delimiter, 0)) return undefined
  const parts: Part[] = []
  let at = delimiter.length
  while (!startsWith(opened, Buffer.from('--'), at)) {
    const next = opened.indexOf(delimiter, at)
    if (!startsWith(opened, lineEnd, at) || next === -1 || parts.length === maxParts) return undefined
    const part = readPart(opened.subarray(at + lineEnd.length, next))
    if (part === undefined) return undefined
    parts.push(part)
    at = next + delimiter.length
  }
  const rest = opened.subarray(at + 2).toString('latin1')
  return rest.trim() === '' ? parts : undefined
}

/** Text in the given charset, without NUL characters; an unknown charset is read as UTF-8. */
export function decodeText(bytes: Buffer, charset: string | undefined): string {
  return decodeBytes(bytes, charset).replaceAll('\0', '')
}

function decodeBytes(bytes: Buffer, charset: string | undefined): string {
  try {
    return new TextDecoder(charset ?? 'utf-8').decode(bytes)
  } catch {
    return bytes.toString('utf8')
  }
}

function readBoundary(contentType: string | undefined): string | undefined {
  if (contentType === undefined || !/^multipart\/form-data\s*;/i.test(contentType)) return undefined
  const found = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType)
  const boundary = found?.[1] ?? found?.[2]
  return boundary === undefined || boundary.length > 70 ? undefined : boundary
}

function readPart(bytes: Buffer): Part | undefined {
  const end = bytes.indexOf(headerEnd)
  if (end === -1 || end > maxHeaderBytes) return undefined
  const headers = readMailHeaders(decodeText(bytes.subarray(0, end), 'utf-8'))
  const disposition = headers['content-disposition'] ?? ''
  const name = readParameter(disposition, 'name')
  if (name === undefined || !/^form-data\s*;/i.test(disposition)) return undefined
  const filename = readParameter(disposition, 'filename')
  const contentType = headers['content-type']
  return {
    name,
    ...(filename !== undefined && { filename }),
    ...(contentType !== undefined && { contentType }),
    bytes: bytes.subarray(end + headerEnd.length),
  }
}

/** Browsers and mail services escape quotes in names as `%22` or `\"`. */
function readParameter(disposition: string, name: string): string | undefined {
  const found = new RegExp(`(?:^|;)\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(disposition)?.[1]
  return found?.replaceAll('%22', '"').replaceAll(/\\(["\\])/g, '$1')
}

function startsWith(bytes: Buffer, expected: Buffer, at: number): boolean {
  return bytes.subarray(at, at + expected.length).equals(expected)
}
