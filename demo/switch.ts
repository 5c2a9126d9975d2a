import { setTimeout as pause } from 'node:timers/promises'
import { check, StepFailed } from './check.ts'
import { type Connection, orderByEmail, type ProviderId } from './products.ts'
import { connect } from './setup.ts'
import {
  channelNames,
  type Message,
  type Player,
  providerNames,
  type SavedConnection,
  type Scene,
  type Story,
  who,
} from './steps.ts'

const mails = 28
const slowFrom = 10
const slowMails = 4
const slowSeconds = 2
const switchAt = 14
const paceMs = 45

/** Switches a tenant's e-mail to another provider while a stream of e-mails flows, and answers the e-mails. */
export async function switchWhileSending(scene: Scene, player: Player, next: Connection): Promise<Message[]> {
  const config = await connect(scene, player, next, false)
  const { screen } = scene
  const { product, pipecore } = player
  const halfway = Promise.withResolvers<void>()
  const row = screen.row({
    product: product.name,
    channel: channelNames.email,
    arrow: '→',
    text: `${mails} e-mails, accepted by`,
  })
  row.add('  ')
  let isSwitched = false
  const sendAll = async () => {
    const sent: Message[] = []
    for (let number = 1; number <= mails; number += 1) {
      if (number === slowFrom) await slowResendDown(scene)
      if (number === switchAt) halfway.resolve()
      const mustBeNext = isSwitched
      const message = await sendMail(player, number)
      if (mustBeNext) check('The switch holds from its answer on', message.provider, next.provider)
      row.add(letterOf(scene, message.provider))
      sent.push(message)
      await pause(paceMs)
    }
    return sent
  }
  const switchOver = async () => {
    await halfway.promise
    const body = { ...config, isActive: true }
    const saved = await pipecore<SavedConnection>('POST', '/messaging/config/provider', { body })
    isSwitched = true
    row.add('│')
    return saved
  }
  const [sent, switched] = await Promise.all([sendAll(), switchOver()])
  row.end()
  for (const provider of ['resend', next.provider] as const) {
    check(
      `${providerNames[provider]} had a part of the stream`,
      sent.some((one) => one.provider === provider),
      true,
    )
  }
  await showDeliveries(scene, player, sent)
  await showWaiting(scene, player, sent, new Date(switched.updated_at))
  return sent
}

/** The provider asks some e-mails to come again later, so that the switch finds them under way. */
async function slowResendDown({ sandbox }: Scene): Promise<void> {
  const body = { provider: 'resend', fault: 'rate_limited', times: slowMails, retry_after: slowSeconds }
  await sandbox('POST', '/sandbox/faults', { body })
}

function sendMail({ product, pipecore }: Player, number: number): Promise<Message> {
  const { subject, htmlContent, from } = orderByEmail
  const body = {
    tenant_id: product.tenantId,
    to: `cliente-${number}@email.com`,
    subject: subject.replace('123', String(200 + number)),
    htmlContent: htmlContent.replace('123', String(200 + number)),
    from,
  }
  return pipecore('POST', '/messaging/send/email', { body, status: 202 })
}

function letterOf({ screen }: Scene, provider: ProviderId): string {
  const name = providerNames[provider]
  return screen.paint(name, name[0] ?? '')
}

/** One letter per delivery, in the order their events arrive. */
async function showDeliveries(
  scene: Scene,
  { product, backend }: Player,
  sent: readonly Message[],
): Promise<void> {
  const acceptedBy = new Map(sent.map(({ id, provider }) => [id, provider]))
  const row = scene.screen.row({
    product: product.name,
    channel: channelNames.email,
    arrow: '←',
    text: `${mails} e-mails, delivered by`,
  })
  row.add('  ')
  for (let count = 1; count <= mails; count += 1) {
    const arrived = await backend.waitFor(
      'message.delivered of the e-mails of the stream',
      (event) => event.event === 'message.delivered' && acceptedBy.has(event.message_id ?? ''),
      count,
    )
    const event = arrived[count - 1]
    const provider = acceptedBy.get(event?.message_id ?? '') ?? 'resend'
    check(`The provider that delivered ${event?.message_id}`, event?.provider, provider)
    row.add(letterOf(scene, provider))
  }
  row.end()
}

/** E-mails that were told to wait before the switch and sent after it: they must end where they began. */
async function showWaiting(
  { screen }: Scene,
  { product, pipecore }: Player,
  sent: readonly Message[],
  switchedAt: Date,
): Promise<void> {
  const row = screen.row({ ...who(product, 'email', 'resend'), arrow: '·', text: 'under way at the switch' })
  let underWay = 0
  for (const { id, provider } of sent) {
    const { attempts } = await pipecore<Story>('GET', `/messaging/messages/${id}`)
    check(`The providers that ${id} went to`, [...new Set(attempts.map((one) => one.provider))], [provider])
    const lastAt = new Date(attempts.at(-1)?.started_at ?? 0)
    if (provider === 'resend' && lastAt > switchedAt) underWay += 1
  }
  if (underWay === 0) throw new StepFailed('E-mails under way at the switch', 'one or more', 0)
  row.tick(`${underWay} ended where they began`)
  row.end()
}
