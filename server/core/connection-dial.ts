import type { LookupAddress } from 'node:dns'
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { buildConnector } from 'undici'
import { explainAddress, findLiteralAddress, type AddressPolicy } from './address-guard.ts'
import type { NameLookup } from './name-lookup.ts'
import { systemErrorCode } from './system-error.ts'

type Phase = 'lookup' | 'connect' | 'tls'

export type DialFailure = 'blocked' | Phase

/** Why there is no connection. Nothing of a request has left when this is thrown. */
export class DialError extends Error {
  readonly failure: DialFailure

  constructor(failure: DialFailure, message: string) {
    super(message)
    this.name = 'DialError'
    this.failure = failure
  }
}

type Addresses = [LookupAddress, ...LookupAddress[]]

export interface DialOptions extends AddressPolicy {
  names: NameLookup
}

/** Null for what there was not: no look-up of a literal address, no connecting where it did not come to an end. */
export interface DialTimings {
  lookupMs: number | null
  /** With TLS. */
  connectMs: number | null
}

export const notDialled: Readonly<DialTimings> = { lookupMs: null, connectMs: null }

/**
 * Opens a socket for undici; the returned socket can be destroyed while it is still connecting. Fills in `timings`
 * as it gets on, so that a call that ends in between knows how far it came.
 */
export type Dial = (
  target: buildConnector.Options,
  callback: buildConnector.Callback,
  timings: DialTimings,
) => Socket | undefined

const connectTimeoutMs = 10_000
const attemptTimeoutMs = 1_000
const tcpKeepAliveMs = 60_000

/**
 * The address is checked inside the look-up that the socket itself makes, so the address that was checked is
 * the one dialled, and a name that changes its mind in between gains nothing.
 */
export function createDial(options: DialOptions): Dial {
  const lookup = guardLookup(options)
  return (target, callback, timings) => {
    const literal = findLiteralAddress(target.hostname)
    const problem = literal && explainAddress(literal, options)
    if (problem) {
      process.nextTick(callback, new DialError('blocked', problem), null)
      return undefined
    }
    const secure = target.protocol === 'https:'
    const socket = openSocket(target, secure, literal !== undefined, lookup)
    clockDial(socket, secure, timings)
    reportConnection(socket, literal === undefined ? 'lookup' : 'connect', secure, callback)
    return socket
  }
}

function openSocket(
  target: buildConnector.Options,
  secure: boolean,
  isLiteral: boolean,
  lookup: LookupFunction,
): Socket {
  const address = {
    host: target.hostname,
    port: Number(target.port) || (secure ? 443 : 80),
    lookup,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: attemptTimeoutMs,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  }
  const servername = isLiteral ? '' : target.hostname
  return secure
    ? connectTls({ ...address, servername, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true })
    : connectTcp(address)
}

function clockDial(socket: Socket, secure: boolean, timings: DialTimings): void {
  let since = performance.now()
  // Once for each address that was found.
  socket.on('lookup', () => {
    if (timings.lookupMs !== null) return
    timings.lookupMs = Math.round(performance.now() - since)
    since = performance.now()
  })
  socket.once(secure ? 'secureConnect' : 'connect', () => {
    timings.connectMs = Math.round(performance.now() - since)
  })
}

function reportConnection(
  socket: Socket,
  firstPhase: Phase,
  secure: boolean,
  callback: buildConnector.Callback,
): void {
  let phase = firstPhase
  let reported = false
  const timer = setTimeout(() => socket.destroy(connectTimeout()), connectTimeoutMs)
  socket.on('close', () => clearTimeout(timer))
  socket.on('lookup', () => (phase = 'connect'))
  socket.on('connect', () => (phase = secure ? 'tls' : 'connect'))
  socket.on(secure ? 'secureConnect' : 'connect', () => {
    clearTimeout(timer)
    reported = true
    callback(null, socket)
  })
  socket.on('error', (error) => {
    if (reported) return
    reported = true
    callback(error instanceof DialError ? error : new DialError(phase, describeDialError(phase, error)), null)
  })
}

function guardLookup(options: DialOptions): LookupFunction {
  return (hostname, lookupOptions, callback) => {
    findAllowedAddresses(hostname, options).then(
      (addresses) => {
        if (lookupOptions.all) callback(null, addresses)
        else callback(null, addresses[0].address, addresses[0].family)
      },
      (error: DialError) => callback(error, ''),
    )
  }
}

/** One bad address among good ones condemns the name: an honest name has no reason to hold it. */
async function findAllowedAddresses(hostname: string, options: DialOptions): Promise<Addresses> {
  const found = await options.names.resolve(hostname).catch((error: unknown) => {
    throw new DialError('lookup', `the name was not found (${systemErrorCode(error) ?? 'look-up failed'})`)
  })
  const problem = found.map((ip) => explainAddress(ip, options)).find((words) => words !== undefined)
  if (problem)
    throw new DialError('blocked', `the name resolves to an address that is not public: ${problem}`)
  const [first, ...others] = found.map((address) => ({ address, family: isIP(address) }))
  if (!first) throw new DialError('lookup', 'the name has no address')
  return [first, ...others]
}

function connectTimeout(): Error {
  return Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })
}

function describeDialError(phase: Phase, error: unknown): string {
  const code = systemErrorCode(error)
  return code ? `${phaseFailures[phase]} (${code})` : phaseFailures[phase]
}

const phaseFailures = {
  lookup: 'the name was not found in time',
  connect: 'the connection failed',
  tls: 'the TLS handshake failed',
}
