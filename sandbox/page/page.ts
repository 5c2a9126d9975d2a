import { randomBytes } from 'node:crypto'
import { listCallbacks } from '../callbacks.ts'
import type { Callback } from '../callbacks.ts'
import { faults, magicRecipients } from '../faults.ts'
import type { Reply } from '../http.ts'
import { paymentProviderIds } from '../payments/simulator.ts'
import type { Site } from '../site.ts'
import { providerIds } from '../world.ts'
import type { World } from '../world.ts'
import { clockOf, renderAnswer, renderConversation, titles } from './cards.ts'
import { listConversations } from './conversations.ts'
import { html, trusted } from './html.ts'
import type { Html } from './html.ts'
import { renderPayments } from './payments.ts'
import { script } from './script.ts'
import { style } from './style.ts'

const SHOWN_CONVERSATIONS = 12
const SHOWN_CALLBACKS = 14
const LOOKED_AT = 500
const allProviderIds = [...providerIds, ...paymentProviderIds]

/** The sandbox for people: what was sent, how callbacks were answered, and a pen for the customer. */
export function renderPage(site: Site): Reply {
  const { world } = site
  const nonce = randomBytes(12).toString('base64')
  const { shown, total } = listConversations(world, SHOWN_CONVERSATIONS)
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>PipeCore sandbox</title>
        <link rel="icon" href="data:," />
        <style>
          ${trusted(style)}
        </style>
      </head>
      <body>
        ${renderTop(world)}
        <main>
          <section class="wall" id="wall" data-live>
            ${total === 0 ? renderWelcome(world) : null}
            ${shown.map((conversation) => renderConversation(world, conversation))}
            ${total > shown.length ? html`<p class="more">and ${total - shown.length} more conversations: <code>GET /sandbox/messages</code></p>` : null}
          </section>
          <aside>
            ${renderPen(site)} ${renderPayments(site)} ${renderCallbacks(world)} ${renderMagic()}
            ${renderAddresses(world)}
          </aside>
        </main>
        <script nonce="${nonce}">
          ${trusted(script)}
        </script>
      </body>
    </html>`
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; frame-src 'self'; base-uri 'none'; form-action 'none'`
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'cache-control': 'no-store',
  }
  return { status: 200, headers, body: page.markup }
}

function renderTop(world: World): Html {
  const messages = [...world.messages.values()]
  const callbacks = listCallbacks(world.callbacks)
  const sent = messages.filter(({ direction }) => direction === 'outbound').length
  const pending = callbacks.filter(({ state }) => state === 'pending').length
  const failed = callbacks.filter(({ state, forged }) => state === 'failed' && !forged).length
  const answered = callbacks.filter(({ state }) => state === 'delivered').length
  return html`<header class="top">
    <h1><span class="logo">⌁</span> PipeCore sandbox <small>the outside world, simulated</small></h1>
    <ul id="counts" data-live>
      ${renderCount(sent, 'sent')} ${renderCount(messages.length - sent, 'received')}
      ${renderCount(answered, 'callbacks taken', 'good')}
      ${renderCount(pending, 'waiting', pending > 0 ? 'wait' : '')}
      ${renderCount(failed, 'given up', failed > 0 ? 'bad' : '')}
    </ul>
  </header>`
}

function renderCount(value: number, label: string, tone = ''): Html {
  return html`<li class="${tone}"><b>${value}</b> ${label}</li>`
}

function renderWelcome(world: World): Html {
  const lines = allProviderIds.map((id) => `PROVIDER_URL_${id.toUpperCase()}=${world.url}/${id}`)
  return html`<div class="welcome">
    <h2>Nothing was sent yet</h2>
    <p>
      Point PipeCore at these addresses and send a message: it appears here as your customer would see it,
      with every status callback and how it was answered. Take a payment, and its pay page is here to be paid.
      No account is needed: the first credential seen opens one.
    </p>
    <pre>${lines.join('\n')}</pre>
  </div>`
}

const kinds = [
  ['meta', 'WhatsApp to a Meta number'],
  ['twilio-whatsapp', 'WhatsApp to a Twilio number'],
  ['twilio-sms', 'SMS to a Twilio number'],
  ['resend', 'E-mail to a Resend address'],
  ['sendgrid', 'E-mail to a SendGrid address'],
] as const

function renderPen(site: Site): Html {
  const accounts = Object.values(site.simulators).flatMap((simulator) => simulator.listAccounts())
  return html`<section class="panel">
    <h2>Write as a customer</h2>
    <form id="pen">
      <label
        >As
        <select name="kind">
          ${kinds.map(([value, label]) => html`<option value="${value}">${label}</option>`)}
        </select></label
      >
      <label
        >To account <input name="account" list="accounts" placeholder="the only one" autocomplete="off"
      /></label>
      <datalist id="accounts" data-live>
        ${accounts.map(({ account }) => html`<option value="${account}"></option>`)}
      </datalist>
      <div class="pair">
        <label>From <input name="from" required placeholder="+56988888888" autocomplete="off" /></label>
        <label>To <input name="to" placeholder="whatsapp:+14155238886" autocomplete="off" /></label>
      </div>
      <label class="subject">Subject <input name="subject" autocomplete="off" /></label>
      <label
        >Message <textarea name="text" rows="2" required placeholder="Hola, ¿a qué hora abren?"></textarea>
      </label>
      <button>Send</button> <output></output>
    </form>
  </section>`
}

function renderCallbacks(world: World): Html {
  const latest = listCallbacks(world.callbacks)
    .slice(-LOOKED_AT)
    .toSorted((a, b) => lastMoment(b).localeCompare(lastMoment(a)))
    .slice(0, SHOWN_CALLBACKS)
  return html`<section class="panel" id="callbacks" data-live>
    <h2>Latest callbacks</h2>
    ${latest.length === 0 ? html`<p class="quiet">None yet.</p>` : null}
    <ol class="log">
      ${latest.map(
        (callback) =>
          html`<li>
            <time>${clockOf(lastMoment(callback))}</time>
            <em class="${callback.provider}">${titles[callback.provider]}</em>
            ${renderAnswer(callback)}
          </li>`,
      )}
    </ol>
  </section>`
}

function lastMoment(callback: Callback): string {
  return callback.attempts.at(-1)?.at ?? ''
}

function renderMagic(): Html {
  return html`<section class="panel">
    <details open>
      <summary><h2>Magic recipients</h2></summary>
      <p class="quiet">
        Send to one of these and the fault happens. The digit before the last three says how often it plays
        per message, zero is always: <code>+56988882004</code> hangs twice, then works. E-mail:
        <code>hang+2@…</code>, any domain.
      </p>
      <p class="quiet">
        Credentials containing <code>invalid</code> are refused, keys containing <code>restricted</code> may
        only send, sender domains containing <code>unverified</code> are not verified, Meta templates
        containing <code>missing</code> or <code>paused</code> fail. Twilio’s own test numbers work too.
      </p>
      <table>
        <tbody>
          ${magicRecipients.map(
            ({ recipient, fault, channels }) =>
              html`<tr>
                <td><code>${recipient}</code></td>
                <td>
                  <b>${fault}</b>
                  ${channels.length === 1 && channels[0] === 'whatsapp' ? html`<i>WhatsApp</i>` : null}<br />${faults[fault]}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </details>
  </section>`
}

function renderAddresses(world: World): Html {
  return html`<section class="panel">
    <h2>Addresses</h2>
    <table>
      <tbody>
        ${allProviderIds.map(
          (id) =>
            html`<tr>
              <td>${titles[id]}</td>
              <td><code>${world.url}/${id}</code></td>
            </tr>`,
        )}
        <tr>
          <td>Control</td>
          <td>
            <a href="/sandbox"><code>${world.url}/sandbox</code></a>
          </td>
        </tr>
      </tbody>
    </table>
  </section>`
}
