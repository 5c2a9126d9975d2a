/** An IPv6 network whose addresses stand for IPv4 ones, and which those may be. */
interface Carrier {
  prefix: bigint
  length: number
  read(address: bigint): bigint[]
}

const bits32 = 0xffff_ffffn
const last = (address: bigint) => address & bits32

const carriers: readonly Carrier[] = [
  defineCarrier('::/96', (address) => [last(address)]),
  defineCarrier('::ffff:0:0/96', (address) => [last(address)]),
  defineCarrier('::ffff:0:0:0/96', (address) => [last(address)]),
  defineCarrier('64:ff9b::/96', (address) => [last(address)]),
  defineCarrier('64:ff9b:1::/48', readTranslated),
  defineCarrier('2002::/16', (address) => [(address >> 80n) & bits32]),
  // Teredo: the server, and the client with its bits turned over.
  defineCarrier('2001::/32', (address) => [(address >> 64n) & bits32, last(~address)]),
  defineCarrier('::/0', (address) => (isIsatap(address) ? [last(address)] : [])),
]

/** Every IPv4 address that a relay could take this IPv6 address for. */
export function findCarried(ipv6: string): string[] {
  const address = toNumber(ipv6)
  return carriers
    .filter(({ prefix, length }) => address >> BigInt(128 - length) === prefix)
    .flatMap((carrier) => carrier.read(address))
    .map(toIpv4)
}

/** RFC 6052 with prefixes of 48, 56, 64 and 96 bits: the ninth octet belongs to no IPv4 address. */
function readTranslated(address: bigint): bigint[] {
  const withoutNinth = ((address >> 64n) << 56n) | (address & (2n ** 56n - 1n))
  return [40n, 32n, 24n, 0n].map((shift) => (withoutNinth >> shift) & bits32)
}

/** By its interface id, in whatever network: RFC 5214. */
function isIsatap(address: bigint): boolean {
  return ((address >> 32n) & 0xfdff_ffffn) === 0x0000_5efen
}

function defineCarrier(network: string, read: Carrier['read']): Carrier {
  const [prefix = '', length] = network.split('/')
  const bits = Number(length)
  return { prefix: toNumber(prefix) >> BigInt(128 - bits), length: bits, read }
}

function toNumber(ipv6: string): bigint {
  // The URL parser writes every spelling in one way, without dots.
  const [head = '', tail = ''] = new URL(`http://[${ipv6}]`).hostname.slice(1, -1).split('::')
  const before = head.split(':').filter(Boolean)
  const after = tail.split(':').filter(Boolean)
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after]
  return groups.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}

function toIpv4(address: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join('.')
}
