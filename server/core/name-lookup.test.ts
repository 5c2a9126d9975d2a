import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'
import { createPublicLookup, createSystemLookup, type NameLookup } from './name-lookup.ts'

test('a public name has the addresses of both families', async (t) => {
  const names = await startLookup(t)
  assert.deepEqual(await names.resolve('both.example'), ['192.0.2.7', '2001:db8::7'])
})

test('a name without an address in one family has those of the other', async (t) => {
  const names = await startLookup(t)
  assert.deepEqual(await names.resolve('ipv6only.example'), ['2001:db8::7'])
})

test('a name that does not exist is refused with its code', async (t) => {
  const names = await startLookup(t)
  await assert.rejects(names.resolve('missing.example'), { code: 'ENOTFOUND' })
})

test('names whose server stays silent do not hold up the others', async (t) => {
  const names = await startLookup(t)
  const silent = Array.from({ length: 100 }, (_, number) => names.resolve(`silent${number}.example`))
  let silentEnded = 0
  for (const lookup of silent) lookup.catch(() => (silentEnded += 1))
  assert.deepEqual(await names.resolve('both.example'), ['192.0.2.7', '2001:db8::7'])
  assert.equal(silentEnded, 0)
  names.cancel()
  await assert.rejects(Promise.any(silent))
})

test('localhost is this machine in every spelling, without a look-up', async () => {
  const names = createPublicLookup(['127.0.0.1:9'])
  for (const name of ['localhost', 'LOCALHOST', 'localhost.', 'api.localhost']) {
    assert.deepEqual(await names.resolve(name), ['127.0.0.1'])
  }
})

test('the look-up of this machine reads its hosts file', async () => {
  const addresses = await createSystemLookup().resolve('localhost')
  assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'), addresses.join())
})

/** Answers `both`, and `ipv6only` for AAAA; says nothing for `silent…`; the rest does not exist. */
async function startLookup(t: TestContext): Promise<NameLookup> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const nameEnd = query.indexOf(0, 12) + 1
    const label = query.toString('latin1', 13, 13 + (query[12] ?? 0))
    if (label.startsWith('silent')) return
    const wantsIpv6 = query.readUInt16BE(nameEnd) === 28
    const address = wantsIpv6 ? '20010db8000000000000000000000007' : 'c0000207'
    const known = label === 'both' || label === 'ipv6only'
    const answers = label === 'both' || (known && wantsIpv6) ? [Buffer.from(address, 'hex')] : []
    const header = Buffer.from(query.subarray(0, 12))
    header.writeUInt16BE(known ? 0x8180 : 0x8183, 2)
    header.writeUInt16BE(answers.length, 6)
    header.fill(0, 8, 12)
    const records = answers.map((data) => {
      const fixed = Buffer.from('c00c0000000100000000', 'hex')
      fixed.writeUInt16BE(wantsIpv6 ? 28 : 1, 2)
      return Buffer.concat([fixed, Buffer.from([0, data.length]), data])
    })
    socket.send(Buffer.concat([header, query.subarray(12, nameEnd + 4), ...records]), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const names = createPublicLookup([`127.0.0.1:${socket.address().port}`])
  t.after(() => {
    names.cancel()
    socket.close()
  })
  return names
}
