import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeText, readMultipart } from './multipart.ts'

const contentType = 'multipart/form-data; boundary=b'

function read(body: string) {
  return readMultipart(Buffer.from(body), contentType)
}

test('what the platform’s own FormData writes is read back, files and odd names included', async () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1 })
    .filter((text) => text.isWellFormed() && !/[\r\n\\]/.test(text))
  const parts = fc.array(
    fc.record({ name, bytes: fc.uint8Array(), filename: fc.option(name, { nil: undefined }) }),
  )
  await fc.assert(
    fc.asyncProperty(parts, async (given) => {
      const form = new FormData()
      for (const part of given) {
        const file = new File([Buffer.from(part.bytes)], part.filename ?? 'blob', { type: 'image/png' })
        if (part.filename === undefined) form.append(part.name, Buffer.from(part.bytes).toString('hex'))
        else form.append(part.name, file)
      }
      const response = new Response(form)
      const body = Buffer.from(await response.arrayBuffer())
      const found = readMultipart(body, response.headers.get('content-type') ?? '')
      const expected = given.map((part) =>
        part.filename === undefined
          ? { name: part.name, bytes: Buffer.from(Buffer.from(part.bytes).toString('hex')) }
          : { ...part, contentType: 'image/png', bytes: Buffer.from(part.bytes) },
      )
      if (given.length > 0) assert.deepEqual(found, expected)
    }),
    { numRuns: 50 },
  )
})

test('line breaks, delimiter look-alikes and raw bytes of a part stay as they are', () => {
  const value = '\r\n--bb\r\n\r\n--x\r\n'
  assert.equal(
    read(`--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n${value}\r\n--b--\r\n`),
    undefined,
  )
  const kept = '\r\n-b\r\n\r\n--x\r\n'
  const [part] = read(`--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n${kept}\r\n--b--\r\n`) ?? []
  assert.equal(part?.bytes.toString(), kept)
})

const header = 'Content-Disposition: form-data; name="a"'
const malformed: Record<string, string> = {
  'an empty body': '',
  'a body that is not closed': `--b\r\n${header}\r\n\r\nx\r\n`,
  'text before the first part': `hello\r\n--b\r\n${header}\r\n\r\nx\r\n--b--\r\n`,
  'text after the last part': `--b\r\n${header}\r\n\r\nx\r\n--b--\r\nmore`,
  'a part without a name': '--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n',
  'a part without headers': '--b\r\nx\r\n--b--\r\n',
  'bare line feeds': `--b\n${header}\n\nx\n--b--\n`,
  'too many parts': `${`--b\r\n${header}\r\n\r\nx\r\n`.repeat(501)}--b--\r\n`,
}
for (const [name, body] of Object.entries(malformed)) {
  test(`${name} is no multipart body`, () => assert.equal(read(body), undefined))
}

test('another content type is no multipart body', () => {
  const body = Buffer.from(`--b\r\n${header}\r\n\r\nx\r\n--b--\r\n`)
  assert.equal(readMultipart(body, undefined), undefined)
  assert.equal(readMultipart(body, 'application/json'), undefined)
  assert.equal(readMultipart(body, 'multipart/form-data'), undefined)
  assert.equal(readMultipart(body, 'multipart/form-data; charset=utf-8; boundary="b"')?.length, 1)
})

test('garbage never throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (bytes, type) => {
      readMultipart(Buffer.from(bytes), type)
      readMultipart(Buffer.concat([Buffer.from('--b\r\n'), bytes, Buffer.from('\r\n--b--')]), contentType)
    }),
  )
})

test('text is decoded in its charset, an unknown one as UTF-8', () => {
  assert.equal(decodeText(Buffer.from([0xbf, 0xe9]), 'ISO-8859-1'), '¿é')
  assert.equal(decodeText(Buffer.from([0x80]), 'windows-1252'), '€')
  assert.equal(decodeText(Buffer.from('é'), 'x-unheard-of'), 'é')
  assert.equal(decodeText(Buffer.from('é'), undefined), 'é')
  assert.equal(decodeText(Buffer.from('a\0b'), undefined), 'ab')
})
