import { check, StepFailed } from './check.ts'
import { createClient } from './client.ts'
import { refuseForgeries } from './forgeries.ts'
import * as cast from './products.ts'
import { takePayments } from './payments.ts'
import { createScreen } from './screen.ts'
import { connect, openProduct } from './setup.ts'
import { createStage } from './stage.ts'
import { follow, type Message, type Player, receive, type Scene, send, who } from './steps.ts'
import { switchWhileSending } from './switch.ts'
import { showTotals } from './totals.ts'

const screen = createScreen()
const stage = createStage()
const callbackDelayMs = 120

async function play(): Promise<void> {
  screen.chapter('PipeCore', 'three products, seven providers, one core')
  const scene = await startAll()

  screen.chapter(
    'Connections',
    'each tenant brings its own accounts; secrets are sealed, webhooks registered',
  )
  const tableflow = await openProduct(scene, cast.tableflow)
  const genda = await openProduct(scene, cast.genda)
  const roe = await openProduct(scene, cast.roe)
  const players = [tableflow, genda, roe]
  for (const player of players) {
    for (const connection of player.product.connections) await connect(scene, player, connection)
  }

  screen.chapter('Messages', "each tick is a signed event that arrived at the product's own backend")
  const juan = { from: cast.customerPhone, name: 'Juan' }
  await receive(scene, tableflow, { ...juan, text: 'Hola, quiero pedir' })
  const accepted: Message[] = [
    await send(scene, tableflow, {
      channel: 'whatsapp',
      message: cast.orderByWhatsapp,
      text: 'Tu pedido #ORD-123 confirmado',
    }),
    await send(scene, tableflow, {
      channel: 'email',
      message: cast.orderByEmail,
      text: cast.orderByEmail.subject,
    }),
  ]
  await refuseOutsideWindow(genda)
  await receive(scene, genda, { ...juan, text: 'Hola, ¿a qué hora?' })
  accepted.push(
    await send(scene, genda, {
      channel: 'whatsapp',
      message: cast.reminderByWhatsapp,
      text: 'Recordatorio de cita',
    }),
    await send(scene, genda, {
      channel: 'email',
      message: cast.reminderByEmail,
      text: cast.reminderByEmail.subject,
    }),
    await send(scene, roe, {
      channel: 'email',
      message: cast.deliveryByEmail,
      text: cast.deliveryByEmail.subject,
    }),
    await send(scene, roe, {
      channel: 'sms',
      message: cast.deliveryBySms,
      text: 'Tu pedido #ORD-456 en camino',
    }),
  )

  screen.chapter('A reply', 'a customer answers the reminder, and a rule of the tenant answers the customer')
  accepted.push(await answerAutomatically(scene, genda))

  screen.chapter('A switch', 'TableFlow changes from Resend to SendGrid in mid-stream: R Resend, S SendGrid')
  accepted.push(...(await switchWhileSending(scene, tableflow, cast.tableflowSendgrid)))

  screen.chapter('Payments', 'a restaurant is paid by three ways, gives something back, and bills a plan')
  const books = await takePayments(scene, tableflow)

  screen.chapter('Forgeries', 'what must not pass')
  await refuseForgeries(scene, players)

  screen.chapter('Counts', 'as PipeCore, the providers and the backends tell them')
  const summary = await showTotals(scene, players, accepted)
  check("Errors in PipeCore's log", stage.listErrors(), [])
  screen.success('Every step held', `${summary}, ${books}`)
}

/** The providers first: PipeCore is told where they are. */
async function startAll(): Promise<Scene> {
  const sandboxRow = screen.row({ product: 'Sandbox', text: 'seven providers, simulated' })
  const sandboxUrl = await stage.startSandbox()
  const sandbox = createClient(sandboxUrl)
  await sandbox('PATCH', '/sandbox/settings', { body: { callback_delay_ms: callbackDelayMs } })
  sandboxRow.tick(sandboxUrl)
  sandboxRow.end()
  const row = screen.row({ product: 'PipeCore', text: 'API, workers, PostgreSQL' })
  const { url, adminKey } = await stage.startPipecore(sandboxUrl)
  row.tick(url)
  row.end()
  return { screen, sandbox, pipecoreUrl: url, admin: createClient(url, adminKey) }
}

/** Who never wrote gets no free text on WhatsApp; PipeCore says so before the provider would. */
async function refuseOutsideWindow({ product, pipecore }: Player): Promise<void> {
  const row = screen.row({ ...who(product, 'whatsapp', 'meta'), arrow: '→', text: 'Recordatorio de cita' })
  const body = { tenant_id: product.tenantId, ...cast.reminderByWhatsapp }
  const problem = await pipecore<{ code: string }>('POST', '/messaging/send/whatsapp', { body, status: 422 })
  check('Why WhatsApp takes no text yet', problem.code, 'window_closed')
  row.refuse('422 window_closed')
  row.end()
}

async function answerAutomatically(scene: Scene, player: Player): Promise<Message> {
  const { product, pipecore, backend } = player
  const body = {
    channel: 'whatsapp',
    keywords: ['reprogramar'],
    body: 'Elige tu nueva hora: https://genda.com/reprogramar',
  }
  await pipecore('PUT', `/messaging/auto-replies/${product.tenantId}/reprogramar`, { body })
  const received = await receive(scene, player, {
    from: cast.customerPhone,
    name: 'Juan',
    text: 'REPROGRAMAR',
  })
  const row = screen.row({
    ...who(product, 'whatsapp', 'meta'),
    arrow: '→',
    text: 'Elige tu nueva hora',
  })
  const [queued] = await backend.waitFor('The automatic reply', (event) => {
    return event.event === 'message.queued' && event.reference === received.message_id
  })
  const reply = await pipecore<Message>('GET', `/messaging/messages/${queued?.message_id}`)
  check('The rule that answered', reply.auto_reply, 'reprogramar')
  await follow(player, reply, row)
  return reply
}

let isEnding = false

async function end(code: number, words?: string): Promise<void> {
  if (isEnding) return
  isEnding = true
  screen.close(words)
  const problem = await stage.close().catch(String)
  if (problem !== undefined) process.stderr.write(`Something was left behind: ${problem}\n`)
  process.exit(problem === undefined ? code : 1)
}

async function fail(error: unknown): Promise<void> {
  if (isEnding) return
  const details = describe(error)
  for (const line of stage.listErrors().slice(-5)) details.push(['log', line])
  screen.failure(error instanceof StepFailed ? `Failed: ${error.message}` : 'Failed', details)
  await end(1)
}

function describe(error: unknown): Array<[string, string]> {
  if (error instanceof StepFailed) {
    return [
      ['expected', error.expected],
      ['found', error.found],
    ]
  }
  return [['error', error instanceof Error ? (error.stack ?? error.message) : String(error)]]
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => void end(code, 'Stopping …'))
}
process.on('uncaughtException', (error) => void fail(error))
await play().then(() => end(0), fail)
