import { createHash } from 'node:crypto'
import type { Callback } from '../callbacks.ts'
import { isObject, textOf } from '../http.ts'
import type { PaymentProviderId } from '../payments/simulator.ts'
import type { Message, ProviderId, World } from '../world.ts'
import { callbacksOf } from './conversations.ts'
import type { Conversation } from './conversations.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'

export const titles: Record<ProviderId | PaymentProviderId, string> = {
  twilio: 'Twilio',
  meta: 'Meta',
  sendgrid: 'SendGrid',
  resend: 'Resend',
  stripe: 'Stripe',
  mercadopago: 'MercadoPago',
  transbank: 'Transbank',
}

const SHOWN_BUBBLES = 12
const SHOWN_MAILS = 3
const LONGEST_TEXT = 900

/** One conversation as a phone, or as an inbox for e-mail. */
export function renderConversation(world: World, conversation: Conversation): Html {
  const { provider, channel, customer } = conversation
  const key = createHash('md5').update(conversation.id).digest('hex').slice(0, 12)
  const isMail = channel === 'email'
  const limit = isMail ? SHOWN_MAILS : SHOWN_BUBBLES
  const shown = conversation.messages.slice(-limit)
  const hidden = conversation.messages.length - shown.length
  return html`<article
    class="card ${isMail ? 'mail' : 'phone'} ${provider} ${channel}"
    id="c-${key}"
    data-live
  >
    <header>
      <span class="avatar">${initialOf(customer)}</span>
      <div>
        <strong>${addressOf(customer)}</strong>
        <small>${conversation.tenant ?? conversation.account}</small>
      </div>
      <span class="badge"
        >${titles[provider]} ${channel === 'email' ? '' : channel === 'sms' ? 'SMS' : 'WhatsApp'}</span
      >
    </header>
    <div class="screen">
      ${hidden > 0 ? html`<p class="hidden">${hidden} earlier</p>` : null}
      ${shown.map((message) => (isMail ? renderMail(world, message) : renderBubble(world, message)))}
    </div>
    <footer>
      <button
        type="button"
        data-reply
        data-kind="${kindOf(conversation)}"
        data-account="${conversation.account}"
        data-from="${customer}"
        data-to="${conversation.business}"
      >
        Write back as ${addressOf(customer)}
      </button>
    </footer>
  </article>`
}

function addressOf(customer: string): string {
  const bare = customer.replace('whatsapp:', '')
  return /^\d{7,}$/.test(bare) ? `+${bare}` : bare
}

function kindOf({ provider, channel }: Conversation): string {
  return provider === 'twilio' ? `twilio-${channel}` : provider
}

function initialOf(customer: string): string {
  const phone = addressOf(customer)
  return /^\+?\d/.test(phone) ? phone.slice(-2) : phone.slice(0, 1).toUpperCase()
}

function renderBubble(world: World, message: Message): Html {
  const isOut = message.direction === 'outbound'
  return html`<div class="bubble ${isOut ? 'out' : 'in'}">
      ${describeMedia(message)}
      <p>${clip(message.text ?? describeKind(message))}</p>
      <span class="stamp">${clockOf(message.created_at)} ${isOut ? renderTicks(message) : null}</span>
    </div>
    ${renderStory(world, message)}`
}

function renderMail(world: World, message: Message): Html {
  const isOut = message.direction === 'outbound'
  return html`<div class="letter ${isOut ? 'out' : 'in'}">
      <h4>${message.subject || '(no subject)'}</h4>
      <small
        >${isOut ? 'from' : 'written by'} ${message.from} · ${clockOf(message.created_at)}
        ${isOut ? renderTicks(message) : null}</small
      >
      ${renderMailBody(message)}
    </div>
    ${renderStory(world, message)}`
}

/** HTML mail is shown inside a frame that can run and load nothing. */
function renderMailBody(message: Message): Html {
  if (message.html !== null) {
    const page = `<meta name="color-scheme" content="light"><style>body{font:13px/1.45 system-ui;margin:10px;color:#1c2024}</style>${message.html}`
    return html`<iframe sandbox="" loading="lazy" title="E-mail" srcdoc="${page}"></iframe>`
  }
  return html`<p>${clip(message.text ?? describeKind(message))}</p>`
}

function describeMedia(message: Message): Html | null {
  const { media } = message.details
  const count = Array.isArray(media) ? media.length : 0
  return count === 0 ? null : html`<span class="media">▣ ${count} media</span>`
}

/** What stands in for the text of a template, a location and the like. */
function describeKind({ details }: Message): string {
  const { template, variables } = details
  if (typeof template === 'string') {
    const values = isObject(variables) ? Object.values(variables).map((value) => textOf(value)) : []
    return `Template ${template} ${values.join(' · ')}`.trim()
  }
  const type = textOf(details['type'])
  return type ? `(${type})` : ''
}

function clip(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text
}

const GOOD_STATES = new Set(['delivered', 'read', 'opened', 'open', 'click', 'clicked'])
const BAD_STATES = new Set([
  'failed',
  'undelivered',
  'bounce',
  'bounced',
  'dropped',
  'suppressed',
  'canceled',
])

function renderTicks({ state }: Message): Html {
  if (state === 'read') return html`<b class="tick read" title="read">✓✓</b>`
  if (GOOD_STATES.has(state)) return html`<b class="tick" title="${state}">✓✓</b>`
  if (BAD_STATES.has(state)) return html`<b class="tick bad" title="${state}">✕ ${state}</b>`
  if (state === 'sent' || state === 'processed') return html`<b class="tick" title="${state}">✓</b>`
  return html`<b class="tick wait" title="${state}">◷ ${state}</b>`
}

/** Under each message: our id in it, the fault played, and how its callbacks were answered. */
function renderStory(world: World, message: Message): Html {
  const callbacks = callbacksOf(world, message)
  const isOut = message.direction === 'outbound'
  return html`<div class="story ${isOut ? 'out' : 'in'}">
    ${message.reference === null ? null : html`<code>${message.reference}</code>`}
    ${message.fault === null ? null : html`<span class="pill fault">${message.fault}</span>`}
    ${callbacks.slice(-6).map((callback) => renderAnswer(callback, message.id))}
    ${callbacks.length === 0 && isOut ? html`<span class="pill none">no callback</span>` : null}
  </div>`
}

/** The events a callback reported, of one message when it is named, and what was answered. */
export function renderAnswer(callback: Callback, messageId?: string): Html {
  const last = callback.attempts.at(-1)
  const tries = callback.attempts.length > 1 ? ` ×${callback.attempts.length}` : ''
  const answer = last ? (last.status ?? last.answer) : '…'
  const tone = callback.state === 'delivered' ? 'good' : callback.state === 'failed' ? 'bad' : 'wait'
  const events = callback.events.filter(
    (_, index) => messageId === undefined || callback.message_ids[index] === messageId,
  )
  const names = [...new Set(events)].join(' + ')
  return html`<span
    class="pill ${callback.forged ? 'fault' : tone}"
    title="${callback.warning ?? callback.url}"
    >${names} <b>${answer}</b>${tries}</span
  >`
}

export function clockOf(iso: string): string {
  return iso.slice(11, 19)
}
