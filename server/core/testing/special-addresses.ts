import { BlockList, isIP } from 'node:net'

type Reachable = 'no' | 'either' | 'yes'

/**
 * The IANA special-purpose registries as of October 2025, with their column "Globally Reachable"; `either` where that
 * says N/A or stands inside a block that says no. Multicast and cloud metadata are no rows there.
 */
const registry: readonly (readonly [network: string, reachable: Reachable])[] = [
  ['0.0.0.0/8', 'no'],
  ['10.0.0.0/8', 'no'],
  ['100.64.0.0/10', 'no'],
  ['127.0.0.0/8', 'no'],
  ['168.63.129.16/32', 'no'],
  ['169.254.0.0/16', 'no'],
  ['172.16.0.0/12', 'no'],
  ['192.0.0.0/24', 'no'],
  ['192.0.0.9/32', 'either'],
  ['192.0.0.10/32', 'either'],
  ['192.0.2.0/24', 'no'],
  ['192.31.196.0/24', 'yes'],
  ['192.52.193.0/24', 'yes'],
  ['192.88.99.0/24', 'either'],
  ['192.168.0.0/16', 'no'],
  ['192.175.48.0/24', 'yes'],
  ['198.18.0.0/15', 'no'],
  ['198.51.100.0/24', 'no'],
  ['203.0.113.0/24', 'no'],
  ['224.0.0.0/4', 'no'],
  ['240.0.0.0/4', 'no'],
  ['64:ff9b::/96', 'either'],
  ['2001::/23', 'no'],
  ['2001::/32', 'either'],
  ['2001:1::1/128', 'either'],
  ['2001:1::2/128', 'either'],
  ['2001:1::3/128', 'either'],
  ['2001:2::/48', 'no'],
  ['2001:3::/32', 'either'],
  ['2001:4:112::/48', 'either'],
  ['2001:10::/28', 'either'],
  ['2001:20::/28', 'either'],
  ['2001:30::/28', 'either'],
  ['2001:db8::/32', 'no'],
  ['2002::/16', 'either'],
  ['2620:4f:8000::/48', 'yes'],
  ['3fff::/20', 'no'],
  // Whatever is not in 2000::/3 is special or was never given to anybody.
  ['::/3', 'no'],
  ['4000::/2', 'no'],
  ['8000::/1', 'no'],
]

const rows = registry.map(([network, reachable]) => {
  const [prefix = '', length] = network.split('/')
  const family = isIP(prefix) === 4 ? ('ipv4' as const) : ('ipv6' as const)
  const block = new BlockList()
  block.addSubnet(prefix, Number(length), family)
  return { prefix, length: Number(length), family, block, reachable }
})

/** Whether the world may be reached at this address, by the row that fits it most closely. */
export function isReachable(address: string): Reachable {
  const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
  const [closest] = rows
    .filter((row) => row.family === family && row.block.check(address, family))
    .toSorted((one, other) => other.length - one.length)
  return closest?.reachable ?? 'yes'
}

/** Networks of IPv4 that are nobody's to call. */
export const unreachableIpv4 = rows.filter((row) => row.family === 'ipv4' && row.reachable === 'no')
