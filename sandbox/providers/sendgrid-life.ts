import { randomBytes } from 'node:crypto'
import type { Fault } from '../faults.ts'
import { textOf } from '../http.ts'
import type { Step } from '../life.ts'
import type { Message } from '../world.ts'
import { reportEvent } from './sendgrid-account.ts'
import type { Sendgrid, SendgridAccount, SuppressionList } from './sendgrid-account.ts'
import type { Personalization, SendgridSend } from './sendgrid-rules.ts'

type Life = {
  message: Message
  fault: Fault | null
  send: SendgridSend
  personalization: Personalization
  sgMessageId: string
}

const DELIVERED = { response: '250 2.0.0 OK', ip: '198.51.100.7', tls: 1 }
const HARD_BOUNCE = {
  type: 'bounce',
  reason: '550 5.1.1 The email account that you tried to reach does not exist',
  status: '5.1.1',
  bounce_classification: 'Invalid Address',
}
const SOFT_BOUNCE = {
  type: 'blocked',
  reason: '452 4.2.2 The recipient mailbox is full',
  status: '4.2.2',
  bounce_classification: 'Mailbox Unavailable',
}
const BLOCKED = {
  type: 'blocked',
  reason: '554 5.7.1 Message refused by local policy',
  status: '5.7.1',
  bounce_classification: 'Reputation',
}
const BROWSER = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15'

/** What happens to one recipient's copy, as its fault and the suppression lists say. */
export function planSendgridSteps(sendgrid: Sendgrid, account: SendgridAccount, life: Life): Step[] {
  const step = makeStep(sendgrid, account, life)
  const suppressed = findSuppression(account, life.message.to)
  const processed = step('processed', {})
  const delivered = step('delivered', DELIVERED)
  const engage = (event: string, fields: Record<string, unknown>, list?: SuppressionList) => ({
    ...step(event, fields, { list }),
    isEngagement: true,
  })
  switch (life.fault?.name) {
    case 'dropped':
    case 'opted_out':
      return [step('dropped', { reason: suppressed ?? 'Bounced Address' })]
    case 'failed':
    case 'bounced':
      return [processed, step('bounce', HARD_BOUNCE, { list: 'bounces' })]
    case 'bounced_soft':
      return [processed, step('bounce', SOFT_BOUNCE, { list: 'blocks' })]
    case 'blocked':
      return [processed, step('bounce', BLOCKED, { list: 'blocks' })]
    case 'bounced_late':
      return [processed, delivered, step('bounce', HARD_BOUNCE, { list: 'bounces', isAnonymous: true })]
    case 'delayed':
      return [processed, step('deferred', { response: '421 4.7.0 Try again later', attempt: '1' }), delivered]
    case 'complained':
      return [processed, delivered, engage('spamreport', {}, 'spam_reports')]
    case 'unsubscribed':
      return [processed, delivered, engage('unsubscribe', {}, 'unsubscribes')]
    case 'opened':
      return [
        processed,
        delivered,
        engage('open', { useragent: BROWSER, ip: '203.0.113.9', sg_machine_open: false }),
      ]
    case 'machine_opened':
      return [
        processed,
        delivered,
        engage('open', { useragent: 'Mozilla/5.0', ip: '17.58.0.1', sg_machine_open: true }),
      ]
    case 'clicked': {
      const open = engage('open', { useragent: BROWSER, ip: '203.0.113.9', sg_machine_open: false })
      const click = {
        useragent: BROWSER,
        ip: '203.0.113.9',
        url: 'https://example.com/',
        url_offset: { index: 0, type: 'html' },
      }
      return [processed, delivered, open, engage('click', click)]
    }
    case 'stuck':
      return [processed]
    default:
      return suppressed ? [step('dropped', { reason: suppressed })] : [processed, delivered]
  }
}

type StepOptions = { list?: SuppressionList | undefined; isAnonymous?: boolean }

function makeStep(sendgrid: Sendgrid, account: SendgridAccount, life: Life) {
  return (event: string, fields: Record<string, unknown>, options: StepOptions = {}): Step => {
    const eventId = randomBytes(16).toString('base64url')
    return {
      state: event,
      report(occurredAt, isUrgent) {
        const timestamp = Math.floor(occurredAt.getTime() / 1_000)
        if (options.list)
          suppress(account, options.list, life.message.to, textOf(fields['reason']), timestamp)
        const body = {
          email: life.message.to,
          timestamp,
          ...(options.isAnonymous
            ? {}
            : { 'smtp-id': `<${life.sgMessageId}@sandbox>`, sg_message_id: life.sgMessageId }),
          event,
          sg_event_id: eventId,
          ...(life.send.categories.length > 0 ? { category: life.send.categories } : {}),
          ...(life.send.sendAt === null ? {} : { send_at: life.send.sendAt }),
          ...life.personalization.customArgs,
          ...fields,
        }
        return reportEvent(sendgrid, account, { event: body, messageId: life.message.id }, isUrgent)
      },
    }
  }
}

function suppress(
  account: SendgridAccount,
  list: SuppressionList,
  email: string,
  reason: string,
  createdAt: number,
): void {
  account.suppressions.get(list)!.set(email.toLowerCase(), { reason, createdAt })
}

const DROP_REASONS: Array<[SuppressionList, string]> = [
  ['bounces', 'Bounced Address'],
  ['invalid_emails', 'Invalid'],
  ['spam_reports', 'Spam Reporting Address'],
  ['unsubscribes', 'Unsubscribed Address'],
]

function findSuppression(account: SendgridAccount, email: string): string | undefined {
  return DROP_REASONS.find(([list]) => account.suppressions.get(list)!.has(email.toLowerCase()))?.[1]
}
