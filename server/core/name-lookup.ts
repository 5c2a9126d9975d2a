import { lookup, Resolver } from 'node:dns/promises'
import { isLocalName } from './address-guard.ts'

export interface NameLookup {
  /** Every address of a name. Rejects with an error whose `code` says why (`ENOTFOUND`, `ETIMEOUT`, …). */
  resolve(hostname: string): Promise<string[]>
  /** Gives up what is still being looked up. */
  cancel(): void
}

/** Looks names up as this machine does: hosts file, search domains, local resolver. */
export function createSystemLookup(): NameLookup {
  return {
    async resolve(hostname) {
      const found = await lookup(hostname, { all: true, order: 'ipv4first' })
      return found.map((entry) => entry.address)
    },
    cancel() {},
  }
}

/**
 * Looks names up in DNS only. The system's look-up holds one of a handful of threads while a name server stays
 * silent, so two dead domains would stop the look-ups of everybody else; these queries hold none.
 */
export function createPublicLookup(dnsServers?: readonly string[]): NameLookup {
  const resolver = new Resolver({ timeout: 3_000, tries: 2 })
  if (dnsServers) resolver.setServers(dnsServers)
  return {
    async resolve(hostname) {
      if (isLocalName(hostname)) return ['127.0.0.1']
      const [ipv4, ipv6] = await Promise.allSettled([
        resolver.resolve4(hostname),
        resolver.resolve6(hostname),
      ])
      const addresses = [ipv4, ipv6].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
      if (addresses.length === 0 && ipv4.status === 'rejected') throw ipv4.reason
      return addresses
    },
    cancel: () => resolver.cancel(),
  }
}
