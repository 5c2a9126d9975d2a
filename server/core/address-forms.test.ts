import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { describe, test, type TestContext } from 'node:test'
import * as fc from 'fast-check'
import { addressProblem, endpointUrlProblem } from './address-guard.ts'
import {
  anyIpv4,
  besidePrivateIpv4,
  dotted,
  forms,
  hostsOf,
  isatapForms,
  privateIpv4,
  spellingsOf,
} from './testing/address-spellings.ts'
import { failCall, openOutbound, resolving } from './testing/outbound.ts'
import { startHttp } from './testing/servers.ts'
import { isReachable } from './testing/special-addresses.ts'

const strict = { allowPrivateAddresses: false }
const relaxed = { allowPrivateAddresses: true }
const noise = fc.integer({ min: 0, max: 0xffff })
const form = fc.constantFrom(...forms)
const publicIpv4 = anyIpv4.filter((ipv4) => isReachable(dotted(ipv4)) === 'yes')
/** Never called, even where private addresses are. */
const metadata = fc
  .constantFrom('169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16', '192.0.0.192')
  .map((text) => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0))

describe('an IPv4 address in the host of a URL', () => {
  const written = (ipv4: fc.Arbitrary<number>) =>
    ipv4.chain((one) => hostsOf(one).map((host) => ({ host, address: dotted(one) })))

  test('is read as that address however it is written', () => {
    fc.assert(
      fc.property(written(anyIpv4), ({ host, address }) => {
        assert.equal(new URL(`https://${host}/`).hostname, address)
      }),
      { numRuns: 1_000 },
    )
  })

  test('is refused when the world can not reach it, and allowed when it can', () => {
    fc.assert(
      fc.property(written(fc.oneof(privateIpv4, besidePrivateIpv4, anyIpv4)), ({ host, address }) => {
        const reachable = isReachable(address)
        const problem = endpointUrlProblem(`https://${host}/`, strict)
        if (reachable !== 'either') assert.equal(problem === undefined, reachable === 'yes', problem)
      }),
      { numRuns: 1_000 },
    )
  })

  test('is refused for good when it is a metadata service', () => {
    fc.assert(
      fc.property(written(metadata), ({ host }) => {
        assert.notEqual(endpointUrlProblem(`https://${host}/`, relaxed), undefined)
      }),
    )
  })
})

describe('an IPv4 address inside an IPv6 one', () => {
  test('is refused when the world can not reach it, whatever carries it and however that is written', () => {
    fc.assert(
      fc.property(privateIpv4, noise, form, (ipv4, filling, [name, carry]) => {
        for (const spelling of spellingsOf(carry(ipv4, filling))) {
          assert.notEqual(addressProblem(spelling, strict), undefined, `${name}: ${spelling}`)
          assert.notEqual(endpointUrlProblem(`https://[${spelling}]/`, strict), undefined, spelling)
        }
      }),
      { numRuns: 1_000 },
    )
  })

  test('is refused for good when it is a metadata service', () => {
    fc.assert(
      fc.property(metadata, noise, form, (ipv4, filling, [name, carry]) => {
        for (const spelling of spellingsOf(carry(ipv4, filling)))
          assert.notEqual(addressProblem(spelling, relaxed), undefined, `${name}: ${spelling}`)
      }),
      { numRuns: 1_000 },
    )
  })

  test('costs a public network nothing when it is public too', () => {
    fc.assert(
      fc.property(publicIpv4, noise, fc.constantFrom(...isatapForms), (ipv4, filling, [, carry]) => {
        assert.equal(addressProblem(carry(ipv4, filling), strict), undefined)
      }),
    )
  })
})

describe('an IPv6 address', () => {
  const groups = fc.array(noise, { minLength: 8, maxLength: 8 })
  const starts = fc.constantFrom(
    '2001:',
    '2001:db8:',
    '2002:',
    '2620:4f:8000:',
    '3ffe:',
    '3fff:',
    '64:ff9b:',
    '100::',
  )
  const anyIpv6 = fc.oneof(
    groups.map((all) => all.map((group) => group.toString(16)).join(':')),
    groups.map(([first = 0, ...rest]) =>
      [0x2000 + (first % 0x2000), ...rest].map((group) => group.toString(16)).join(':'),
    ),
    fc.tuple(starts, noise, noise).map(([start, a, b]) => {
      const head = start.endsWith('::') ? start.slice(0, -1) : start
      return `${head}${a.toString(16)}::${b.toString(16)}`
    }),
  )

  test('is refused when the world can not reach it, and allowed when it can', () => {
    fc.assert(
      fc.property(anyIpv6, (address) => {
        const reachable = isReachable(address)
        for (const spelling of spellingsOf(address)) {
          const problem = addressProblem(spelling, strict)
          if (reachable !== 'either') assert.equal(problem === undefined, reachable === 'yes', spelling)
        }
      }),
      { numRuns: 1_000 },
    )
  })

  test('is refused with any zone when it is refused without one', () => {
    const zone = fc.constantFrom('%1', '%eth0', '%25eth0', '%', '%lo%lo')
    const local = fc.constantFrom('::1', 'fe80::1', 'fd00::1', '::ffff:127.0.0.1', '127.0.0.1', '10.0.0.1')
    fc.assert(
      fc.property(local, zone, (address, suffix) => {
        assert.notEqual(addressProblem(address + suffix, strict), undefined)
        assert.notEqual(endpointUrlProblem(`https://[${address}${suffix}]/`, strict), undefined)
      }),
    )
  })
})

test('this machine is recognised by name in every way in which IDNA writes it', () => {
  const letters = 'localhost'.split('').map((letter) => {
    const code = letter.charCodeAt(0)
    const others = [code + 0xfee0, code - 0x61 + 0x24d0, code - 0x61 + 0x1d41a]
    return fc.constantFrom(
      letter,
      letter.toUpperCase(),
      `${letter}\u00ad`,
      ...others.map((one) => String.fromCodePoint(one)),
    )
  })
  const point = fc.constantFrom('', '.', '。')
  fc.assert(
    fc.property(fc.constantFrom('', 'api.', 'api｡'), fc.tuple(...letters), point, (start, name, end) => {
      const problem = endpointUrlProblem(`https://${start}${name.join('')}${end}/`, strict)
      assert.match(problem ?? 'accepted', /loopback/)
    }),
  )
})

describe('no connection is begun', () => {
  test('to a host that is written as a forbidden address, and no look-up is made', async (t) => {
    const looked: string[] = []
    const outbound = openOutbound(t, {
      ...strict,
      ...resolving(async (name) => (looked.push(name), ['127.0.0.1'])),
    })
    const connections = countConnections(t)
    const ipv4Host = privateIpv4.chain(hostsOf)
    const ipv6Host = fc
      .tuple(privateIpv4, noise, form)
      .map(([ipv4, filling, [, carry]]) => `[${carry(ipv4, filling)}]`)
    const scheme = fc.constantFrom('http', 'https')
    await fc.assert(
      fc.asyncProperty(scheme, fc.oneof(ipv4Host, ipv6Host), async (protocol, host) => {
        const url = `${protocol}://${host}/`
        const error = await failCall(outbound, { method: 'POST', url, timeoutMs: 5_000 })
        assert.deepEqual([error.failure, error.sent], ['blocked', false], url)
      }),
      { numRuns: 300 },
    )
    assert.deepEqual([looked, connections.count], [[], 0])
  })

  test('to a name when one of its addresses is forbidden, in whatever form and place', async (t) => {
    let answer: string[] = []
    const outbound = openOutbound(t, { ...strict, ...resolving(async () => answer) })
    const connections = countConnections(t)
    const bad = fc.oneof(
      privateIpv4.map(dotted),
      fc.tuple(privateIpv4, noise, form).map(([ipv4, filling, [, carry]]) => carry(ipv4, filling)),
      fc.constantFrom('::1', 'fe80::1%eth0', 'fd00:ec2::254', '2130706433', '0x7f.1', '017700000001', ''),
    )
    const good = fc.array(publicIpv4.map(dotted), { maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(good, bad, good, async (before, one, after) => {
        answer = [...before, one, ...after]
        const error = await failCall(outbound, {
          method: 'POST',
          url: 'https://mixed.test/',
          timeoutMs: 5_000,
        })
        assert.deepEqual([error.failure, error.sent], ['blocked', false], answer.join(' '))
      }),
      { numRuns: 300 },
    )
    assert.equal(connections.count, 0)
  })
})

test('a name that answers otherwise at every look-up leads to no address but those that were just checked', async (t) => {
  const { port, requests } = await startHttp(t, (_request, response) => {
    response.writeHead(200, { connection: 'close' }).end()
  })
  let answers: string[][] = []
  let looked: string[] | undefined
  const outbound = openOutbound(t, {
    ...relaxed,
    ...resolving(async () => {
      assert.equal(looked, undefined, 'a connection is worth one look-up')
      looked = answers.shift() ?? []
      return looked
    }),
  })
  const dialled = watchDials(t)
  const forbidden = fc.constantFrom(
    '169.254.169.254',
    '100.100.100.200',
    'fd00:ec2::254',
    '64:ff9b::a9fe:a9fe',
  )
  const answer = fc.oneof(
    fc.constant(['127.0.0.1']),
    forbidden.map((one) => [one]),
    forbidden.map((one) => ['127.0.0.1', one]),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(answer, { minLength: 2, maxLength: 6 }), async (sequence) => {
      answers = sequence.map((one) => [...one])
      for (const expected of sequence) {
        looked = undefined
        dialled.length = 0
        const before = requests.length
        const call = { method: 'GET' as const, url: `http://rebinding.test:${port}/`, timeoutMs: 5_000 }
        if (expected.every((one) => one === '127.0.0.1')) {
          assert.equal((await outbound.request(call)).status, 200)
          assert.deepEqual(dialled, ['127.0.0.1'])
        } else {
          assert.equal((await failCall(outbound, call)).failure, 'blocked')
          assert.deepEqual([dialled, requests.length], [[], before])
        }
        assert.deepEqual(looked, expected)
      }
    }),
    { numRuns: 60 },
  )
})

/** Every TCP connection this process begins, by whatever way. */
function countConnections(t: TestContext): { count: number } {
  const seen = { count: 0 }
  const hook = createHook({
    init(_id, type) {
      if (type === 'TCPCONNECTWRAP') seen.count += 1
    },
  }).enable()
  t.after(() => void hook.disable())
  return seen
}

/** The addresses that sockets of this process try. */
function watchDials(t: TestContext): string[] {
  const dialled: string[] = []
  const watch = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    socket.on('connectionAttempt', (address) => dialled.push(address))
  }
  subscribe('net.client.socket', watch)
  t.after(() => void unsubscribe('net.client.socket', watch))
  return dialled
}
