import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { clearCallbacks, findCallbackInput, sendCallback, waitForAnswer } from './callbacks.ts'
import type { Callback } from './callbacks.ts'
import { readInput } from './control-call.ts'
import type { ControlCalls } from './control-call.ts'
import { answerCallbacks, limitOf, listMessages } from './control-lists.ts'
import { faults, magicRecipients } from './faults.ts'
import type { FaultName, FaultRule } from './faults.ts'
import { damageCallback, damages } from './forgery.ts'
import { decodePart, replyJson } from './http.ts'
import type { Call, Reply } from './http.ts'
import { paymentCalls } from './payments/payment-control.ts'
import { paymentProviderIds } from './payments/simulator.ts'
import type { PaymentAccountView, PaymentSimulator } from './payments/simulator.ts'
import type { AccountView, Simulator } from './providers/simulator.ts'
import type { Site } from './site.ts'
import { providerIds } from './world.ts'
import type { World } from './world.ts'

const DEFAULT_WAIT_MS = 10_000

/** `GET /sandbox` lists them. */
const calls: ControlCalls = {
  'GET accounts': {
    does: 'every account, with what its owner needs to verify callbacks',
    run: ({ site }) => replyJson(200, { accounts: listAccounts(site) }),
  },
  'PUT accounts': {
    does: '/<provider>/<account> {token?, webhook_url?, secrets…}: makes or changes an account',
    run: async ({ site, call, first, second }) =>
      second === undefined
        ? null
        : replyJson(200, await anySimulatorOf(site, first).putAccount(second, readInput(call))),
  },
  'POST inbound': {
    does: '/<provider> {from, to, account, text, …}: a customer writes; answers with what the webhook was answered',
    run: ({ site, call, first }) => receive(site, simulatorOf(site, first), call),
  },
  'GET messages': {
    does: '?provider=&account=&channel=&direction=&to=&reference=&state=&limit=: messages, their callbacks, effects per our id',
    run: ({ site, call }) => listMessages(site.world, call.query),
  },
  'GET requests': {
    does: '?limit=: the last raw requests, authorization masked',
    run: ({ site, call }) => replyJson(200, { requests: site.world.requests.slice(-limitOf(call.query)) }),
  },
  'GET callbacks': {
    does: '?state=pending|delivered|failed&provider=&limit=: callbacks and every attempt at them, how much is still to come',
    run: ({ site, call }) => answerCallbacks(site.world, call.query),
  },
  'POST callbacks': {
    does: '/replay {id}: once more under the same ids; /forge {id | provider, account?, url?, kind: signature|tampered|unsigned|stale}',
    run: ({ site, call, first }) =>
      first === 'forge' ? forge(site, call) : first === 'replay' ? replay(site.world, call) : null,
  },
  'GET faults': {
    does: 'rules in force, all faults by name, magic recipients',
    run: ({ site }) => replyJson(200, { rules: site.world.faults, names: faults, magic: magicRecipients }),
  },
  'POST faults': {
    does: '{provider, fault, match?: {to?, from?, channel?, reference?}, times?, after_ms?, retry_after?, code?, on?: send|lookup}',
    run: ({ site, call }) => addFault(site.world, readInput(call)),
  },
  'DELETE faults': {
    does: 'ends all rules, or /<id>',
    run: ({ site, first }) => {
      site.world.faults = first === undefined ? [] : site.world.faults.filter(({ id }) => id !== first)
      return replyJson(200, { rules: site.world.faults })
    },
  },
  'GET settings': {
    does: 'delays, retries, window, rates, clock',
    run: ({ site }) => replyJson(200, site.world.settings),
  },
  'PATCH settings': {
    does: 'changes some of them',
    run: ({ site, call }) =>
      replyJson(200, Object.assign(site.world.settings, settingsSchema.parse(readInput(call)))),
  },
  'POST clock': {
    does: '{advance_ms}: moves the sandbox’s clock on; what falls due happens within a second',
    run: ({ site, call }) => advanceClock(site.world, call),
  },
  'POST reset': {
    does: '{accounts?: true}: forgets messages, payments, callbacks, faults, windows and settings; accounts only when asked',
    run: ({ site, call }) => reset(site, call),
  },
  ...paymentCalls,
}

/** The control API under `/sandbox`: JSON in, JSON out, every fault of the input named. */
export async function answerControl(site: Site, call: Call): Promise<Reply> {
  const [, , area, first, second] = call.path.split('/').map(decodePart)
  if (!area) return replyJson(200, { calls: describeCalls() })
  try {
    const answered = await calls[`${call.method} ${area}`]?.run({ site, call, first, second })
    return (
      answered ??
      replyJson(404, { error: `no such call: ${call.method} ${call.path}`, calls: describeCalls() })
    )
  } catch (error) {
    if (error instanceof z.ZodError) {
      const problems = error.issues.map(({ path, message }) => ({ field: path.join('.'), message }))
      return replyJson(422, { error: 'the request has faults', problems })
    }
    if (error instanceof SyntaxError) return replyJson(400, { error: 'the body is not JSON' })
    throw error
  }
}

function describeCalls(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(calls).map(([name, { does }]) => [name.replace(' ', ' /sandbox/'), does]),
  )
}

function listAccounts({ simulators, payments }: Site): Array<AccountView | PaymentAccountView> {
  return [
    ...Object.values(simulators).flatMap((simulator) => simulator.listAccounts()),
    ...Object.values(payments).flatMap((simulator) => simulator.listAccounts()),
  ]
}

function listSimulators(site: Site): Array<Simulator | PaymentSimulator> {
  return [...Object.values(site.simulators), ...Object.values(site.payments)]
}

function simulatorOf(site: Site, name: string | undefined): Simulator {
  return site.simulators[z.enum(providerIds).parse(name)]
}

function anySimulatorOf(site: Site, name: string | undefined): Simulator | PaymentSimulator {
  const id = z.enum([...providerIds, ...paymentProviderIds]).parse(name)
  return { ...site.simulators, ...site.payments }[id]
}

const settingsSchema = z
  .strictObject({
    callback_delay_ms: z.number().min(0).max(600_000),
    late_ms: z.number().min(0).max(600_000),
    retry_factor: z.number().min(1),
    patience_ms: z.number().min(0),
    window: z.enum(['http', 'callback', 'off']),
    rate_limits: z.partialRecord(z.enum(providerIds), z.number().int().min(1)),
    clock_offset_ms: z.number(),
    sign_in_present: z.boolean(),
    random_seed: z.number().int().min(0).max(4_294_967_295),
  })
  .partial()

const faultSchema = z.strictObject({
  provider: z.enum(providerIds),
  fault: z.custom<FaultName>((name) => typeof name === 'string' && Object.hasOwn(faults, name), {
    message: `must be one of ${Object.keys(faults).join(', ')}`,
  }),
  match: z
    .strictObject({
      to: z.string().optional(),
      from: z.string().optional(),
      channel: z.enum(['sms', 'whatsapp', 'email']).optional(),
      reference: z.string().optional(),
    })
    .default({}),
  times: z.number().int().min(1).nullable().default(null),
  after_ms: z.number().min(0).max(600_000).default(0),
  retry_after: z.number().int().min(0).default(1),
  code: z.number().int().nullable().default(null),
  on: z.enum(['send', 'lookup']).default('send'),
})

function addFault(world: World, input: unknown): Reply {
  const { match, ...rest } = faultSchema.parse(input)
  const rule: FaultRule = {
    id: `fault_${randomBytes(6).toString('hex')}`,
    ...rest,
    match: withoutUndefined(match),
  }
  world.faults.push(rule)
  return replyJson(201, rule)
}

function withoutUndefined(match: z.infer<typeof faultSchema>['match']): FaultRule['match'] {
  return Object.fromEntries(Object.entries(match).filter(([, value]) => value !== undefined))
}

async function receive(site: Site, simulator: Simulator, call: Call): Promise<Reply> {
  const { message_ids: messageIds, callback } = await simulator.receive(readInput(call))
  if (!callback) {
    const note = 'kept, but nobody was told: this account has no webhook'
    return replyJson(200, { message_ids: messageIds, delivered: false, note })
  }
  return answerCallback(site.world, callback, call.query, { message_ids: messageIds })
}

async function answerCallback(
  world: World,
  callback: Callback,
  query: URLSearchParams,
  extra: Record<string, unknown>,
): Promise<Reply> {
  const waitMs = z.coerce
    .number()
    .min(0)
    .max(300_000)
    .parse(query.get('wait_ms') ?? DEFAULT_WAIT_MS)
  await waitForAnswer(world, callback, waitMs)
  const last = callback.attempts.at(-1)
  const answered = last ? { status: last.status, body: last.answer } : null
  return replyJson(200, { ...extra, delivered: callback.state === 'delivered', answered, callback })
}

async function replay(world: World, call: Call): Promise<Reply> {
  const { id } = z.strictObject({ id: z.string() }).parse(readInput(call))
  const known = findCallbackInput(world.callbacks, id)
  if (!known) return replyJson(404, { error: `no callback ${id}` })
  return answerCallback(world, sendCallback(world, known), call.query, {})
}

const forgeSchema = z
  .strictObject({
    /** A callback of the log; otherwise one is made up for the provider. */
    id: z.string().optional(),
    provider: z.enum(providerIds).optional(),
    account: z.string().optional(),
    url: z.url().optional(),
    kind: z.enum(damages).default('signature'),
    age_seconds: z.number().int().default(3_600),
  })
  .refine(({ id, provider }) => id !== undefined || provider !== undefined, {
    path: ['provider'],
    message: 'give provider or id',
  })

async function forge(site: Site, call: Call): Promise<Reply> {
  const { id, provider, account, url, kind, age_seconds: ageSeconds } = forgeSchema.parse(readInput(call))
  const known =
    id === undefined
      ? site.simulators[provider!].sample(account, url)
      : findCallbackInput(site.world.callbacks, id)
  if (!known) return replyJson(404, { error: `no callback ${id}` })
  const callback = sendCallback(site.world, damageCallback(known, { kind, ageSeconds }))
  return answerCallback(site.world, callback, call.query, {})
}

function advanceClock(world: World, call: Call): Reply {
  const { advance_ms: advanceMs } = z.strictObject({ advance_ms: z.number().min(0) }).parse(readInput(call))
  // Whoever moves this clock alone stays in the present.
  Object.assign(world.settings, {
    clock_offset_ms: world.settings.clock_offset_ms + advanceMs,
    sign_in_present: true,
  })
  return replyJson(200, { now: world.now().toISOString(), clock_offset_ms: world.settings.clock_offset_ms })
}

/** Forgets messages, payments, callbacks, faults, windows and settings; accounts too when asked. */
function reset(site: Site, call: Call): Reply {
  const { accounts } = z.strictObject({ accounts: z.boolean().default(false) }).parse(readInput(call))
  const { world } = site
  world.forgetTimers()
  clearCallbacks(world.callbacks)
  world.messages.clear()
  world.windows.clear()
  world.faultsPlayed.clear()
  world.rates.clear()
  world.requests.length = 0
  world.faults = []
  world.ledger.length = 0
  world.paymentFaults = []
  site.resetSettings()
  for (const simulator of listSimulators(site)) {
    simulator.clear()
    if (accounts) simulator.clearAccounts()
  }
  return replyJson(200, { ok: true })
}
