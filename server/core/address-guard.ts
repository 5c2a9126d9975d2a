import { BlockList, isIP } from 'node:net'
import { findCarried } from './carried-addresses.ts'

export interface AddressPolicy {
  allowPrivateAddresses: boolean
}

type Family = 'ipv4' | 'ipv6'

interface AddressRule {
  words: string
  network: string
  family: Family
  addresses: BlockList
}

/** Refused whatever the settings say: no endpoint lives there, but a cloud's credentials do. */
const neverCalled = defineRules([
  ['a cloud metadata service', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32'],
  ['a cloud metadata service', 'fd00:ec2::/32', 'fd20:ce::254/128'],
  ['a link-local address', '169.254.0.0/16', 'fe80::/10'],
  ['a multicast address', '224.0.0.0/4', 'ff00::/8'],
  ['the broadcast address', '255.255.255.255/32'],
])

/** The IANA special-purpose registries; the first match names the rule. */
const notPublic = defineRules([
  ['a loopback address', '127.0.0.0/8', '::1/128'],
  ['an unspecified address', '0.0.0.0/8', '::/128'],
  ['a private address', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  ['a carrier-grade NAT address', '100.64.0.0/10'],
  ['an address for protocol assignments', '192.0.0.0/24'],
  ['a documentation address', '192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24'],
  ['a documentation address', '2001:db8::/32', '3fff::/20'],
  ['a 6to4 relay address', '192.88.99.0/24'],
  ['a benchmark address', '198.18.0.0/15', '2001:2::/48'],
  ['a reserved class E address', '240.0.0.0/4'],
  ['an IPv4-mapped address', '::ffff:0:0/96'],
  ['an IPv4-translated address', '::ffff:0:0:0/96'],
  ['an IPv4-compatible address', '::/96'],
  ['a NAT64 address', '64:ff9b::/96', '64:ff9b:1::/48'],
  ['a 6to4 address', '2002::/16'],
  ['a Teredo address', '2001::/32'],
  ['an address for protocol assignments', '2001::/23'],
  ['an SRv6 address', '5f00::/16'],
  ['a discard-only address', '100::/64'],
  ['a unique local address', 'fc00::/7'],
  ['a deprecated site-local address', 'fec0::/10'],
])

const publicIpv6 = defineRules([['public', '2000::/3']])

/**
 * Names the rule that forbids calling `ip`, such as `a private address (10.0.0.0/8)`; undefined when it may be
 * called. With private addresses allowed only link-local, multicast, broadcast and cloud metadata stay forbidden.
 */
export function addressProblem(
  ip: string,
  policy: AddressPolicy = { allowPrivateAddresses: false },
): string | undefined {
  const address = ip.replace(/%.*$/, '')
  const version = isIP(address)
  if (version === 0) return 'not an IP address'
  const family = version === 4 ? 'ipv4' : 'ipv6'
  const rules = policy.allowPrivateAddresses ? neverCalled : [...neverCalled, ...notPublic]
  const broken = findRule(rules, address, family)
  if (broken) return describeRule(broken)
  const carried = family === 'ipv6' ? findCarried(address) : []
  for (const ipv4 of carried) {
    const rule = findRule(rules, ipv4, 'ipv4')
    if (rule) return `an address that stands for ${ipv4}, ${describeRule(rule)}`
  }
  if (policy.allowPrivateAddresses || family === 'ipv4' || findRule(publicIpv6, address, family))
    return undefined
  return 'a reserved address (outside 2000::/3)'
}

/** One sentence for the person who chose the address: which rule, which address, and what would lift it. */
export function explainAddress(ip: string, policy: AddressPolicy): string | undefined {
  const problem = addressProblem(ip, policy)
  if (!problem) return undefined
  const liftable = addressProblem(ip, { allowPrivateAddresses: true }) === undefined
  return `${ip} is ${problem}${liftable ? '; PIPECORE_ALLOW_PRIVATE_ENDPOINTS=true allows it' : ''}`
}

/** The address in a URL's host when it needs no look-up; `url.hostname` has every IPv4 spelling made plain. */
export function findLiteralAddress(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1')
  return isIP(bare) === 0 ? undefined : bare
}

/** What is wrong with a URL before any look-up; undefined when it may be called. */
export function urlProblem(url: URL): string | undefined {
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return 'The URL must start with https:// or http://.'
  if (url.username !== '' || url.password !== '') {
    return 'The URL must not hold a user name or password; send them in a header.'
  }
  if (url.port === '0') return 'Port 0 cannot be called.'
  return undefined
}

/** Checks an endpoint's URL when it is saved; what its name resolves to is checked again at every call. */
export function endpointUrlProblem(text: string, policy: AddressPolicy): string | undefined {
  if (!URL.canParse(text)) return 'This is not a URL; write it as https://host/path.'
  const url = new URL(text)
  const plainHttp = url.protocol === 'http:' && !policy.allowPrivateAddresses
  return (
    urlProblem(url) ?? (plainHttp ? 'The URL must start with https://.' : explainHost(url.hostname, policy))
  )
}

/** True for the names that RFC 6761 keeps for this machine. */
export function isLocalName(hostname: string): boolean {
  return /(^|\.)localhost\.?$/i.test(hostname)
}

function explainHost(hostname: string, policy: AddressPolicy): string | undefined {
  const address = isLocalName(hostname) ? '127.0.0.1' : findLiteralAddress(hostname)
  const problem = address && explainAddress(address, policy)
  return problem && `The URL cannot be called: ${problem}.`
}

function describeRule({ words, network }: AddressRule): string {
  return `${words} (${network})`
}

/** A BlockList sees IPv4 and IPv4-mapped IPv6 as one: right for rules on IPv4, wrong for rules on IPv6. */
function findRule(rules: readonly AddressRule[], address: string, family: Family): AddressRule | undefined {
  return rules.find(
    (rule) => (rule.family === 'ipv4' || family === 'ipv6') && rule.addresses.check(address, family),
  )
}

function defineRules(lines: readonly (readonly [words: string, ...networks: string[]])[]): AddressRule[] {
  return lines.flatMap(([words, ...networks]) => networks.map((network) => defineRule(words, network)))
}

function defineRule(words: string, network: string): AddressRule {
  const [prefix = '', length] = network.split('/')
  const family = isIP(prefix) === 4 ? 'ipv4' : 'ipv6'
  const addresses = new BlockList()
  addresses.addSubnet(prefix, Number(length), family)
  return { words, network, family, addresses }
}
