import * as fc from 'fast-check'
import { unreachableIpv4 } from './special-addresses.ts'

export const anyIpv4 = fc.integer({ min: 0, max: 2 ** 32 - 1 })

const networks = unreachableIpv4.map(({ prefix, length }) => {
  const first = prefix.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  return { first, last: first + 2 ** (32 - length) - 1 }
})

export const privateIpv4 = fc
  .constantFrom(...networks)
  .chain(({ first, last }) => fc.oneof(fc.constantFrom(first, last), fc.integer({ min: first, max: last })))

/** The nearest ones outside, of which some are in the next network. */
export const besidePrivateIpv4 = fc
  .constantFrom(...networks.flatMap(({ first, last }) => [first - 1, last + 1]))
  .map((ipv4) => ipv4 >>> 0)

export function dotted(ipv4: number): string {
  return [24, 16, 8, 0].map((shift) => (ipv4 >>> shift) & 255).join('.')
}

const bases = { 8: '0', 10: '', 16: '0x' } as const
const styles = fc.record({
  /** One part may stand for several octets, the last one for all that remain. */
  parts: fc.integer({ min: 1, max: 4 }),
  bases: fc.tuple(...Array.from({ length: 4 }, () => fc.constantFrom<8 | 10 | 16>(8, 10, 16))),
  zeros: fc.integer({ min: 0, max: 3 }),
  upper: fc.boolean(),
  point: fc.constantFrom('.', '。', '．', '｡'),
  endsWithPoint: fc.boolean(),
  digits: fc.constantFrom('plain', 'full-width', 'mathematical', 'percent'),
})

/** Hosts of URLs that are this IPv4 address, in every way in which the standard lets one write it. */
export function hostsOf(ipv4: number): fc.Arbitrary<string> {
  return styles.map((style) => {
    const octets = dotted(ipv4).split('.').map(Number)
    const head = octets.slice(0, style.parts - 1)
    const rest = octets.slice(style.parts - 1).reduce((sum, octet) => sum * 256 + octet, 0)
    const spelt = [...head, rest].map((part, index) => {
      const base = style.bases[index] ?? 10
      const zeros = base === 10 ? '' : '0'.repeat(style.zeros)
      return bases[base] + zeros + part.toString(base)
    })
    const text = spelt.join('.') + (style.endsWithPoint ? '.' : '')
    return disguise(style.upper ? text.toUpperCase() : text, style.digits).replaceAll('.', style.point)
  })
}

function disguise(text: string, digits: string): string {
  if (digits === 'percent') return text.replace(/[0-9a-fx]/gi, (one) => `%${hex(one.charCodeAt(0), 2)}`)
  if (digits === 'full-width')
    return text.replace(/[0-9a-fx]/gi, (one) => String.fromCharCode(one.charCodeAt(0) + 0xfee0))
  if (digits === 'mathematical')
    return text.replace(/\d/g, (one) => String.fromCodePoint(0x1d7ce + Number(one)))
  return text
}

/** IPv6 addresses that carry an IPv4 one: by RFC 4291, 2765, 6052, 8215, 3056, 4380. */
const carriers: Record<string, (ipv4: number, noise: number) => string> = {
  mapped: (ipv4) => `::ffff:${pair(ipv4)}`,
  compatible: (ipv4) => `::${pair(ipv4)}`,
  translated: (ipv4) => `::ffff:0:${pair(ipv4)}`,
  'mapped, dotted': (ipv4) => `::ffff:${dotted(ipv4)}`,
  'compatible, dotted': (ipv4) => `::${dotted(ipv4)}`,
  NAT64: (ipv4) => `64:ff9b::${dotted(ipv4)}`,
  'local NAT64, /96': (ipv4, noise) => `64:ff9b:1:${hex(noise)}:0:0:${pair(ipv4)}`,
  'local NAT64, /48': (ipv4) => `64:ff9b:1:${split(ipv4, 16)}::`,
  'local NAT64, /56': (ipv4, noise) => `64:ff9b:1:${split(ipv4, 24, noise & 255)}::`,
  'local NAT64, /64': (ipv4, noise) => `64:ff9b:1:${hex(noise)}:${split(ipv4, 32)}::`,
  '6to4': (ipv4, noise) => `2002:${pair(ipv4)}:${hex(noise)}::1`,
  'Teredo client': (ipv4, noise) => `2001:0:808:808:8000:${hex(noise)}:${pair(~ipv4)}`,
  'Teredo server': (ipv4, noise) => `2001:0:${pair(ipv4)}:8000:${hex(noise)}:f7f7:f7f7`,
}

const isatap: typeof carriers = {
  ISATAP: (ipv4, noise) => `2a00:${hex(noise)}:0:1:0:5efe:${pair(ipv4)}`,
  'ISATAP, universal': (ipv4, noise) => `2606:4700:${hex(noise)}:0:200:5efe:${dotted(ipv4)}`,
}

export const forms = Object.entries({ ...carriers, ...isatap })
export const isatapForms = Object.entries(isatap)

/** The same address by other means of writing. */
export function spellingsOf(ipv6: string): string[] {
  const short = new URL(`http://[${ipv6}]`).hostname.slice(1, -1)
  return [
    ipv6,
    short,
    short.toUpperCase(),
    short.replaceAll(/\b[\da-f]{1,3}\b/g, (group) => group.padStart(4, '0')),
  ]
}

function hex(value: number, length = 1): string {
  return value.toString(16).padStart(length, '0')
}

function pair(ipv4: number): string {
  return `${hex((ipv4 >>> 16) & 0xffff)}:${hex(ipv4 & 0xffff)}`
}

/** The groups from the fourth on with `before` bits of the address ahead of the empty ninth octet. */
function split(ipv4: number, before: 16 | 24 | 32, first = 0): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted(ipv4).split('.').map(Number)
  const octets = { 16: [a, b, 0, c, d, 0], 24: [first, a, 0, b, c, d], 32: [0, a, b, c, d, 0] }[before]
  const groups = [0, 2, 4].map((at) => hex(((octets[at] ?? 0) << 8) | (octets[at + 1] ?? 0)))
  return groups.join(':')
}
