import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

/** A self-signed certificate for a host name, made without openssl; valid for a day around now. */
export function createCertificate(hostname: string): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = sequence(set(sequence(objectId('550403'), encode(0x0c, Buffer.from(hostname)))))
  const ecdsaWithSha256 = sequence(objectId('2a8648ce3d040302'))
  const altName = sequence(encode(0x82, Buffer.from(hostname)))
  const certified = sequence(
    encode(0xa0, encode(0x02, Buffer.from([2]))),
    encode(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    name,
    sequence(time(-12), time(12)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    encode(0xa3, sequence(sequence(objectId('551d11'), encode(0x04, altName)))),
  )
  const signature = Buffer.concat([Buffer.from([0]), sign('sha256', certified, privateKey)])
  const certificate = sequence(certified, ecdsaWithSha256, encode(0x03, signature))
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
  }
}

/** DER: tag, length, content. */
function encode(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents)
  const length = content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}

function sequence(...contents: Buffer[]): Buffer {
  return encode(0x30, ...contents)
}

function set(...contents: Buffer[]): Buffer {
  return encode(0x31, ...contents)
}

function objectId(hex: string): Buffer {
  return encode(0x06, Buffer.from(hex, 'hex'))
}

function time(hoursFromNow: number): Buffer {
  const moment = new Date(Date.now() + hoursFromNow * 3_600_000).toISOString()
  return encode(0x17, Buffer.from(`${moment.replace(/[-:T]/g, '').slice(2, 14)}Z`))
}
