import { randomUUID } from 'node:crypto'
import type { Fault } from '../faults.ts'
import type { Step } from '../life.ts'
import type { Message } from '../world.ts'
import { createSvixId, reportResendEvent } from './resend-account.ts'
import type { Resend, ResendAccount } from './resend-account.ts'
import type { ResendSend } from './resend-rules.ts'

type Life = { message: Message; fault: Fault | null; send: ResendSend }

/** What happens to an email, as its fault and the suppression list say. */
export function planResendSteps(resend: Resend, account: ResendAccount, life: Life): Step[] {
  const step = makeStep(resend, account, life)
  const sent = step('sent')
  const delivered = step('delivered')
  const suppressedFor = account.suppressions.get(life.message.to.toLowerCase())?.reason
  const gone = describeBounce(
    'Permanent',
    'General',
    '550 5.1.1 The email account that you tried to reach does not exist',
  )
  switch (life.fault?.name) {
    case 'bounced':
      return [sent, step('bounced', gone, 'bounce')]
    case 'bounced_late':
      return [sent, delivered, step('bounced', gone, 'bounce')]
    case 'bounced_soft':
      return [
        sent,
        step(
          'bounced',
          describeBounce('Transient', 'MailboxFull', '452 4.2.2 The recipient mailbox is full'),
        ),
      ]
    case 'blocked':
      return [
        sent,
        step(
          'bounced',
          describeBounce('Transient', 'ContentRejected', '554 5.7.1 Message refused by local policy'),
        ),
      ]
    case 'failed':
      return [step('failed', { failed: { reason: 'reached_daily_quota' } })]
    case 'dropped':
    case 'opted_out':
      return [step('suppressed', describeSuppression(suppressedFor ?? 'previous_bounce'))]
    case 'delayed':
      return [sent, step('delivery_delayed'), delivered]
    case 'complained':
    case 'unsubscribed':
      return [sent, delivered, { ...step('complained', {}, 'complaint'), isEngagement: true }]
    case 'opened':
    case 'machine_opened':
      return [sent, delivered, { ...step('opened', describeOpen(life)), isEngagement: true }]
    case 'clicked': {
      const click = { click: { ...describeOpen(life).open, link: 'https://example.com/' } }
      return [
        sent,
        delivered,
        { ...step('opened', describeOpen(life)), isEngagement: true },
        { ...step('clicked', click), isEngagement: true },
      ]
    }
    case 'stuck':
      return [sent]
    default:
      return suppressedFor ? [step('suppressed', describeSuppression(suppressedFor))] : [sent, delivered]
  }
}

function describeBounce(type: string, subType: string, message: string): Record<string, unknown> {
  return { bounce: { type, subType, message, diagnosticCode: [`smtp; ${message}`] } }
}

function describeOpen(life: Life) {
  const userAgent =
    life.fault?.name === 'machine_opened'
      ? 'GoogleImageProxy'
      : 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)'
  return { open: { ipAddress: '203.0.113.9', timestamp: life.message.created_at, userAgent } }
}

function describeSuppression(reason: string): Record<string, unknown> {
  return {
    suppressed: {
      type: 'OnAccountSuppressionList',
      reason,
      message: 'The recipient is on the suppression list of this account',
    },
  }
}

function makeStep(resend: Resend, account: ResendAccount, life: Life) {
  const { message, send } = life
  return (name: string, fields: Record<string, unknown> = {}, suppresses?: 'bounce' | 'complaint'): Step => {
    const svixId = createSvixId()
    return {
      state: name,
      report(at) {
        if (suppresses) addSuppression(account, message.to, `previous_${suppresses}`, at)
        const data = {
          email_id: message.id,
          message_id: `<${message.id}@sandbox.example>`,
          created_at: message.created_at,
          from: send.from,
          to: send.to,
          subject: send.subject,
          ...(Object.keys(send.tags).length > 0 ? { tags: send.tags } : {}),
          ...(send.template ? { template_id: send.template.id } : {}),
          ...fields,
        }
        return reportResendEvent(resend, account, {
          type: `email.${name}`,
          at,
          data,
          messageId: message.id,
          svixId,
        })
      },
    }
  }
}

export function addSuppression(
  account: ResendAccount,
  email: string,
  reason: string,
  at: Date,
): { id: string } {
  const entry = { id: randomUUID(), reason, createdAt: at.toISOString() }
  account.suppressions.set(email.toLowerCase(), entry)
  return entry
}
