import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { addressProblem, endpointUrlProblem, explainAddress } from './address-guard.ts'

const strict = { allowPrivateAddresses: false }
const relaxed = { allowPrivateAddresses: true }

/** First address, last address and prefix length of what must never be called, written independently of the guard. */
const forbiddenIpv4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['168.63.129.16', 32],
] as const

const forbiddenIpv6 = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const

describe('addressProblem', () => {
  const named = [
    ['127.0.0.1', /loopback/],
    ['0.0.0.0', /unspecified/],
    ['10.1.2.3', /private address \(10\.0\.0\.0\/8\)/],
    ['172.31.255.255', /private/],
    ['192.168.1.1', /private/],
    ['100.64.0.1', /carrier-grade NAT/],
    ['169.254.1.1', /link-local/],
    ['169.254.169.254', /link-local/],
    ['168.63.129.16', /cloud metadata/],
    ['192.0.2.1', /documentation/],
    ['198.19.0.1', /benchmark/],
    ['192.88.99.1', /6to4 relay/],
    ['224.0.0.1', /multicast/],
    ['240.0.0.1', /class E/],
    ['255.255.255.255', /broadcast/],
    ['::', /unspecified/],
    ['::1', /loopback/],
    ['fe80::1', /link-local/],
    ['fe80::1%eth0', /link-local/],
    ['fd00::1', /unique local/],
    ['fd00:ec2::254', /cloud metadata/],
    ['fd00:ec2::23', /cloud metadata/],
    ['fec0::1', /site-local/],
    ['ff02::1', /multicast/],
    ['::ffff:8.8.8.8', /IPv4-mapped/],
    ['::ffff:0:8.8.8.8', /IPv4-translated/],
    ['::8.8.8.8', /IPv4-compatible/],
    ['64:ff9b::8.8.8.8', /NAT64/],
    ['64:ff9b:1::1', /NAT64/],
    ['2002:808:808::1', /6to4/],
    ['2001:0:808:808::1', /Teredo/],
    ['2a00:1450::5efe:10.0.0.1', /stands for 10\.0\.0\.1, a private address/],
    ['2a00:1450::200:5efe:7f00:1', /stands for 127\.0\.0\.1, a loopback address/],
    ['2001:db8::1', /documentation/],
    ['3fff::1', /documentation/],
    ['2001:2::1', /benchmark/],
    ['2001:20::1', /protocol assignments/],
    ['5f00::1', /SRv6/],
    ['100::1', /discard/],
    ['4000::1', /outside 2000::\/3/],
  ] as const
  for (const [address, rule] of named) {
    test(`${address} is refused by its own rule`, () => {
      assert.match(addressProblem(address) ?? 'allowed', rule)
    })
  }

  test('public addresses may be called', () => {
    for (const address of [
      '8.8.8.8',
      '1.1.1.1',
      '172.32.0.1',
      '100.128.0.1',
      '2606:4700::1111',
      '2a00:1450::1',
    ]) {
      assert.equal(addressProblem(address), undefined, address)
    }
  })

  test('what is not an IP address in plain form is refused', () => {
    for (const text of ['', 'localhost', '2130706433', '0x7f.0.0.1', '010.0.0.1', '[::1]', '1.2.3']) {
      assert.equal(addressProblem(text), 'not an IP address', text)
    }
  })

  test('every IPv4 address is allowed exactly when no special-purpose network holds it', () => {
    const networks = forbiddenIpv4.map(([prefix, length]) => [ipv4ToNumber(prefix), length] as const)
    const anyAddress = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(BigInt)
    fc.assert(
      fc.property(fc.oneof(anyAddress, nearNetworks(networks, 32)), (value) => {
        const forbidden = networks.some(([prefix, length]) => sameNetwork(value, prefix, length, 32))
        const special = ['100.100.100.200'].includes(numberToIpv4(value))
        assert.equal(addressProblem(numberToIpv4(value)) !== undefined, forbidden || special)
      }),
      { numRuns: 2_000 },
    )
  })

  test('every IPv6 address is allowed exactly when it is global unicast outside the special networks', () => {
    const networks = forbiddenIpv6.map(([prefix, length]) => [ipv6ToNumber(prefix), length] as const)
    const globalUnicast = ipv6ToNumber('2000::')
    const anyAddress = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n })
    const global = anyAddress.map((value) => (value % 2n ** 125n) + globalUnicast)
    fc.assert(
      fc.property(fc.oneof(anyAddress, global, nearNetworks(networks, 128)), (value) => {
        const forbidden =
          !sameNetwork(value, globalUnicast, 3, 128) ||
          networks.some(([prefix, length]) => sameNetwork(value, prefix, length, 128))
        assert.equal(addressProblem(numberToIpv6(value)) !== undefined, forbidden, numberToIpv6(value))
      }),
      { numRuns: 2_000 },
    )
  })

  test('no IPv4 address gets through inside an IPv6 carrier', () => {
    const carriers = ['::', '::ffff:', '::ffff:0:', '64:ff9b::', '64:ff9b:1::', '2001:0:5ef5:79fb::']
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom(...carriers), (ipv4, carrier) => {
        assert.notEqual(addressProblem(`${carrier}${ipv4}`), undefined)
      }),
    )
  })

  test('the spelling of an IPv6 address does not matter', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), (value) => {
        const full = numberToIpv6(value)
        const short = new URL(`http://[${full}]/`).hostname.slice(1, -1)
        assert.equal(addressProblem(short), addressProblem(full))
        assert.equal(addressProblem(full.toUpperCase()), addressProblem(full))
      }),
    )
  })

  test('private addresses may be allowed, but never link-local, multicast, broadcast or cloud metadata', () => {
    for (const address of [
      '127.0.0.1',
      '::1',
      '10.0.0.1',
      '192.168.1.1',
      'fd12::1',
      '100.64.0.1',
      '198.19.1.1',
    ]) {
      assert.equal(addressProblem(address, relaxed), undefined, address)
    }
    const never = [
      '169.254.169.254',
      '::ffff:169.254.169.254',
      'fe80::1',
      '224.0.0.1',
      'ff02::1',
      '255.255.255.255',
    ]
    for (const address of [
      ...never,
      '100.100.100.200',
      'fd00:ec2::254',
      'fd00:ec2::23',
      '64:ff9b::a9fe:a9fe',
    ]) {
      assert.notEqual(addressProblem(address, relaxed), undefined, address)
    }
  })
})

describe('explainAddress', () => {
  test('names the rule, the address and the setting that lifts it', () => {
    assert.equal(
      explainAddress('10.0.0.7', strict),
      '10.0.0.7 is a private address (10.0.0.0/8); PIPECORE_ALLOW_PRIVATE_ENDPOINTS=true allows it',
    )
  })

  test('does not offer the setting where it would not help', () => {
    assert.doesNotMatch(explainAddress('169.254.169.254', strict) ?? '', /PIPECORE_/)
  })
})

describe('endpointUrlProblem', () => {
  test('a public https URL is accepted', () => {
    assert.equal(endpointUrlProblem('https://hooks.example.com:8443/in?key=1', strict), undefined)
    assert.equal(endpointUrlProblem('https://[2606:4700::1111]/', strict), undefined)
  })

  const loopbackSpellings = [
    '127.0.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '017700000001',
    '127.1',
    '127.0.0.1.',
  ]
  for (const host of [
    ...loopbackSpellings,
    '１２７.0.0.1',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    'localhost',
    'a.localhost.',
  ]) {
    test(`${host} is recognised as this machine`, () => {
      assert.match(endpointUrlProblem(`https://${host}/`, strict) ?? 'accepted', /loopback/)
    })
  }

  test('an IPv4 address hidden in IPv6 is refused', () => {
    assert.match(endpointUrlProblem('https://[::ffff:8.8.8.8]/', strict) ?? '', /IPv4-mapped/)
    assert.match(endpointUrlProblem('https://[::ffff:127.0.0.1]/', strict) ?? '', /loopback/)
    assert.match(endpointUrlProblem('https://[::127.0.0.1]/', strict) ?? '', /IPv4-compatible/)
  })

  test('every literal that the URL parser turns into an address is judged as that address', () => {
    const part = fc.integer({ min: 0, max: 255 })
    const spelling = fc
      .tuple(part, part, part, part, fc.constantFrom(8, 10, 16))
      .map(([a, b, c, d, base]) => {
        const prefix = { 8: '0', 10: '', 16: '0x' }[base]
        return {
          plain: `${a}.${b}.${c}.${d}`,
          spelt: [a, b, c, d].map((n) => prefix + n.toString(base)).join('.'),
        }
      })
    fc.assert(
      fc.property(spelling, ({ plain, spelt }) => {
        const refused = endpointUrlProblem(`https://${spelt}/`, strict) !== undefined
        assert.equal(refused, addressProblem(plain) !== undefined)
      }),
    )
  })

  test('http is refused unless private addresses are allowed', () => {
    assert.match(endpointUrlProblem('http://hooks.example.com/', strict) ?? '', /must start with https/)
    assert.equal(endpointUrlProblem('http://127.0.0.1:3000/', relaxed), undefined)
    assert.equal(endpointUrlProblem('http://localhost:3000/', relaxed), undefined)
  })

  test('credentials, port 0, other schemes and what is no URL are refused', () => {
    for (const policy of [strict, relaxed]) {
      assert.match(
        endpointUrlProblem('https://user:pass@example.com/', policy) ?? '',
        /user name or password/,
      )
      assert.match(endpointUrlProblem('https://example.com:0/', policy) ?? '', /Port 0/)
      assert.match(endpointUrlProblem('ftp://example.com/', policy) ?? '', /must start with https/)
      assert.match(endpointUrlProblem('file:///etc/passwd', policy) ?? '', /must start with https/)
      assert.match(endpointUrlProblem('hooks.example.com', policy) ?? '', /not a URL/)
      assert.match(endpointUrlProblem('https://[fe80::1%25eth0]/', policy) ?? '', /not a URL/)
    }
  })

  test('no text makes it throw', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webUrl()), (text) => void endpointUrlProblem(text, strict)),
    )
  })

  test('the problem never shows the query or the password', () => {
    const urls = [
      'https://user:s3cret-fake@example.com/?key=s3cret-fake',
      'https://10.0.0.1/?key=s3cret-fake',
    ]
    for (const url of urls) assert.doesNotMatch(endpointUrlProblem(url, strict) ?? '', /s3cret/)
  })
})

function nearNetworks(networks: readonly (readonly [bigint, number])[], bits: number) {
  const limit = 2n ** BigInt(bits)
  return fc.constantFrom(...networks).chain(([prefix, length]) => {
    const size = 2n ** BigInt(bits - length)
    const edges = [prefix - 1n, prefix, prefix + size / 2n, prefix + size - 1n, prefix + size]
    return fc.constantFrom(...edges.filter((edge) => edge >= 0n && edge < limit))
  })
}

function sameNetwork(value: bigint, prefix: bigint, length: number, bits: number): boolean {
  const shift = BigInt(bits - length)
  return value >> shift === prefix >> shift
}

function ipv4ToNumber(address: string): bigint {
  return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n)
}

function numberToIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.')
}

function ipv6ToNumber(address: string): bigint {
  const [left = '', right = ''] = address.split('::').map((half) => half)
  const head = left.split(':').filter(Boolean)
  const tail = right.split(':').filter(Boolean)
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  return groups.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}

function numberToIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - index * 16)) & 0xffffn)
  const address = groups.map((group) => group.toString(16)).join(':')
  assert.equal(isIP(address), 6)
  return address
}
