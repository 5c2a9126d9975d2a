import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { clearCallbacks } from './callbacks.ts'
import { answerControl } from './control.ts'
import { readBody, readHeaders, replyJson, replyProxyHtml, writeReply } from './http.ts'
import type { Call, Reply } from './http.ts'
import { renderPage } from './page/page.ts'
import { createPaymentSimulators } from './payments/index.ts'
import { paymentProviderIds } from './payments/simulator.ts'
import type { PaymentProviderId, PaymentSimulator } from './payments/simulator.ts'
import { createMeta } from './providers/meta.ts'
import { createResend } from './providers/resend.ts'
import { createSendgrid } from './providers/sendgrid.ts'
import type { Simulator } from './providers/simulator.ts'
import { createTwilio } from './providers/twilio.ts'
import type { Site } from './site.ts'
import { createWorld, defaultSettings, providerIds, recordRequest } from './world.ts'
import type { ProviderId, RequestRecord, World } from './world.ts'

export type SandboxOptions = {
  /** 0 takes any free port. */
  port: number
  host?: string
  now?: () => Date
  callbackDelayMs?: number
}

export type Sandbox = {
  /** Origin: the page is at `/`, control under `/sandbox`, each provider under its id. */
  url: string
  /** What to give PipeCore as `PROVIDER_URL_<PROVIDER>`. */
  providerUrls: Record<ProviderId | PaymentProviderId, string>
  world: World
  close(): Promise<void>
}

/** Starts the outside world on one port. Rejects when the port is taken. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const settings = defaultSettings(options.callbackDelayMs)
  const world = createWorld({ now: options.now ?? (() => new Date()), settings })
  const simulators = {
    twilio: createTwilio(world),
    meta: createMeta(world),
    sendgrid: createSendgrid(world),
    resend: createResend(world),
  }
  const resetSettings = () => void Object.assign(settings, defaultSettings(options.callbackDelayMs))
  const site = { world, simulators, payments: createPaymentSimulators(world), resetSettings }
  const server = createServer((request, response) => void serve(site, request, response))
  server.requestTimeout = 0
  server.keepAliveTimeout = 65_000
  const host = options.host ?? '127.0.0.1'
  await listen(server, options.port, host)
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : options.port
  world.url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`
  return {
    url: world.url,
    providerUrls: {
      twilio: `${world.url}/twilio`,
      meta: `${world.url}/meta`,
      sendgrid: `${world.url}/sendgrid`,
      resend: `${world.url}/resend`,
      stripe: `${world.url}/stripe`,
      mercadopago: `${world.url}/mercadopago`,
      transbank: `${world.url}/transbank`,
    },
    world,
    close: () => close(server, world),
  }
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function close(server: Server, world: World): Promise<void> {
  world.forgetTimers()
  clearCallbacks(world.callbacks)
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeAllConnections()
  await closed
  await world.callbacks.agent.destroy()
}

async function serve(site: Site, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const startedAt = Date.now()
  try {
    const body = await readBody(request)
    const target = request.url ?? '/'
    const record = isProviderCall(site, target) ? startRecord(site.world, request, body) : null
    const reply = body
      ? await answer(site, request, target, body)
      : replyProxyHtml(413, 'Request Entity Too Large')
    if (record) finishRecord(record, reply, Date.now() - startedAt)
    writeReply(request, response, reply)
  } catch (error) {
    if (request.destroyed || response.headersSent) return
    writeReply(
      request,
      response,
      replyJson(500, { error: 'the sandbox itself failed', detail: String(error) }),
    )
  }
}

async function answer(site: Site, request: IncomingMessage, target: string, body: Buffer): Promise<Reply> {
  const [rawPath, rawQuery] = splitOnce(target, '?')
  const call: Call = {
    method: request.method ?? 'GET',
    path: rawPath,
    query: new URLSearchParams(rawQuery),
    headers: readHeaders(request),
    body,
  }
  if (call.path === '/' && call.method === 'GET') return renderPage(site)
  const [, prefix = ''] = call.path.split('/', 2)
  if (prefix === 'sandbox') return answerControl(site, call)
  const simulator = findSimulator(site, prefix)
  if (!simulator) {
    const providers = [...Object.keys(site.simulators), ...Object.keys(site.payments)]
    return replyJson(404, { error: `nothing lives at ${call.path}`, providers })
  }
  return simulator.answer({ ...call, path: call.path.slice(prefix.length + 1) })
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function findSimulator(site: Site, prefix: string): Simulator | PaymentSimulator | undefined {
  const paymentId = paymentProviderIds.find((known) => known === prefix)
  if (paymentId) return site.payments[paymentId]
  const id = providerIds.find((known) => known === prefix)
  return id && site.simulators[id]
}

function isProviderCall(site: Site, target: string): boolean {
  return findSimulator(site, target.split(/[/?]/, 2)[1] ?? '') !== undefined
}

const KEPT_BODY_CHARACTERS = 8_000

function startRecord(world: World, request: IncomingMessage, body: Buffer | null): RequestRecord {
  const headers = readHeaders(request)
  if (headers['authorization']) headers['authorization'] = headers['authorization'].replace(/ .*/, ' ***')
  if (headers['tbk-api-key-secret']) headers['tbk-api-key-secret'] = '***'
  const url = (request.url ?? '').replace(/(access_token|appsecret_proof)=[^&]*/g, '$1=***')
  const record: RequestRecord = {
    at: world.now().toISOString(),
    method: request.method ?? '',
    url,
    headers,
    body: maskBody(body?.toString('utf8', 0, KEPT_BODY_CHARACTERS) ?? ''),
    answer: 'open',
    ms: null,
  }
  recordRequest(world, record)
  return record
}

/** Secrets and card numbers of MercadoPago’s and Stripe’s token calls, in JSON or as a form. */
function maskBody(body: string): string {
  return body
    .replace(/("(?:client_secret|refresh_token|card_number|security_code)"\s*:\s*")[^"]*/g, '$1***')
    .replace(
      /((?:^|&)(?:client_secret|refresh_token|card(?:\[|%5B)(?:number|cvc)(?:\]|%5D))=)[^&]*/g,
      '$1***',
    )
}

function finishRecord(record: RequestRecord, reply: Reply, ms: number): void {
  record.answer = reply.transport ?? reply.status
  record.ms = ms
}
