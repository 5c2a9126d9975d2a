import { randomBytes } from 'node:crypto'
import type { Call, Reply } from '../http.ts'
import { html, trusted } from '../page/html.ts'
import type { Html } from '../page/html.ts'
import { writeMoney } from './amounts.ts'
import { payStyle } from './pay-style.ts'
import type { BrowserStep, PaymentProviderId } from './simulator.ts'

/** One way the customer can end it: a button that posts `choice=<name>`. */
export type PayChoice = {
  name: string
  label: string
  hint: string
  tone: 'good' | 'bad' | 'plain'
  /** Posted with this choice instead of what was entered on the page. */
  fields?: Record<string, string>
}

/** What the customer enters; the first option is chosen already. */
export type PayField = {
  kind: 'cards' | 'select'
  name: string
  label: string
  options: Array<{ value: string; label: string; hint?: string }>
  /** Stands beside this choice instead of above all of them. */
  choice?: string
}

/** Amounts are minor units; texts are Spanish, as the customer reads them. */
export type PayPage = {
  provider: PaymentProviderId
  title: string
  merchant: string
  amount: number
  currency: string
  /** Under the amount: `cada mes`. */
  terms?: string
  lines: Array<{ title: string; amount: number }>
  reference: string | null
  state: string
  isOpen: boolean
  /** What happened, above all else. */
  notice?: string
  fields?: PayField[]
  choices: PayChoice[]
  /** Posted with every choice. */
  hidden?: Record<string, string>
  /** Where choices are posted; without it, the page’s own address. */
  action?: string
}

const wordmarks: Record<PaymentProviderId, string> = {
  stripe: 'stripe',
  mercadopago: 'mercado pago',
  transbank: 'webpay',
}

/** The provider’s page as a customer sees it: real forms, nothing from outside, no script. */
export function renderPayPage(page: PayPage): Reply {
  const amount = writeMoney(page.amount, page.currency)
  const main = html`<main>
    <section class="order" aria-labelledby="total">
      <p class="merchant">${page.merchant}</p>
      <h1 id="total">
        <small>${page.title}</small> ${amount}
        ${amount.includes(page.currency) ? null : html`<i>${page.currency}</i>`}
      </h1>
      ${page.terms === undefined ? null : html`<p class="terms">${page.terms}</p>`} ${renderLines(page)}
      <dl>
        ${page.reference === null ? null : renderFact('Referencia', page.reference)}
        ${renderFact('Estado', page.state)}
      </dl>
    </section>
    <section class="desk" aria-label="Pago">
      ${page.notice === undefined ? null : html`<p class="notice" role="status">${page.notice}</p>`}
      ${page.isOpen ? renderDesk(page) : renderClosed(page)}
    </section>
    ${page.isOpen && page.choices.length > 1 ? renderOthers(page) : null}
  </main>`
  return replyPage(200, page.provider, `${page.title} · ${page.merchant}`, main)
}

/** Sends the browser on: a redirect for GET, for POST a form that submits itself and has a button. */
export function renderBrowserStep(step: BrowserStep, provider: PaymentProviderId = 'transbank'): Reply {
  const target = new URL(step.url)
  if (target.protocol !== 'http:' && target.protocol !== 'https:')
    return { status: 400, headers: { 'content-type': 'text/plain' }, body: 'not a web address' }
  if (step.method === 'GET')
    return { status: 303, headers: { location: addFields(target.href, step.fields) } }
  const main = html`<main class="step">
    <section class="desk">
      <p class="notice" role="status">Volviendo al comercio…</p>
      <form method="post" action="${target.href}" id="step">
        ${renderHidden(step.fields)}
        <button class="main good">Volver al comercio</button>
      </form>
    </section>
  </main>`
  const script = "document.getElementById('step').submit()"
  return replyPage(200, provider, 'Volviendo al comercio', main, script)
}

/** For an address that is no page, or no page any more. */
export function replyPayError(provider: PaymentProviderId, status: number, text: string): Reply {
  const main = html`<main class="step">
    <section class="desk">
      <div class="closed"><h2>${text}</h2></div>
    </section>
  </main>`
  return replyPage(status, provider, text, main)
}

/** What the customer posted from a pay page. */
export function readPayForm(call: Call): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(call.body.toString('utf8')))
}

function addFields(url: string, fields: Record<string, string>): string {
  const query = new URLSearchParams(fields).toString()
  if (query === '') return url
  const [address = '', fragment] = url.split('#', 2)
  const joined = `${address}${address.includes('?') ? '&' : '?'}${query}`
  return fragment === undefined ? joined : `${joined}#${fragment}`
}

function renderLines({ lines, currency }: PayPage): Html | null {
  if (lines.length === 0) return null
  return html`<ul class="lines">
    ${lines.map((line) => html`<li><span>${line.title}</span> <b>${writeMoney(line.amount, currency)}</b></li>`)}
  </ul>`
}

function renderFact(name: string, value: string): Html {
  return html`<div>
    <dt>${name}</dt>
    <dd><code>${value}</code></dd>
  </div>`
}

function renderClosed(page: PayPage): Html {
  return html`<div class="closed">
    <h2>Esta página ya no acepta pagos</h2>
    <p>El pago quedó en <code>${page.state}</code>. Puedes cerrar esta ventana.</p>
  </div>`
}

/** What is entered, and the first choice as the main button. */
function renderDesk(page: PayPage): Html {
  const [first] = page.choices
  const fields = page.fields ?? []
  return html`<form id="pay" method="post" action="${page.action ?? ''}">
      ${renderHidden(page.hidden ?? {})}
      ${fields.filter(({ choice }) => choice === undefined).map(renderField)}
    </form>
    ${
      first
        ? html`<button class="main ${first.tone}" form="${formOf(first)}" name="choice" value="${first.name}">
              ${first.label}
            </button>
            <p class="hint">${first.hint}</p>`
        : null
    }
    ${page.choices.map((choice) => renderOwnForm(page, choice))}`
}

function formOf(choice: PayChoice): string {
  return choice.fields ? `form-${choice.name}` : 'pay'
}

function renderOwnForm(page: PayPage, choice: PayChoice): Html {
  if (!choice.fields) return html``
  return html`<form id="${formOf(choice)}" method="post" action="${page.action ?? ''}">
    ${renderHidden({ ...page.hidden, ...choice.fields })}
  </form>`
}

/** The other choices, each with the word that plays it through the control API. */
function renderOthers(page: PayPage): Html {
  const fieldsOf = ({ name }: PayChoice) => (page.fields ?? []).filter(({ choice }) => choice === name)
  return html`<section class="others" aria-labelledby="others">
    <h2 id="others">O prueba otro final</h2>
    <ul>
      ${page.choices.slice(1).map(
        (choice) =>
          html`<li class="${choice.tone}">
            <button
              form="${formOf(choice)}"
              name="choice"
              value="${choice.name}"
              aria-describedby="hint-${choice.name}"
            >
              <b>${choice.label}</b> <code>${choice.name}</code>
              <span id="hint-${choice.name}">${choice.hint}</span>
            </button>
            ${fieldsOf(choice).map(renderField)}
          </li>`,
      )}
    </ul>
  </section>`
}

function renderField(field: PayField): Html {
  if (field.kind === 'cards') {
    return html`<fieldset class="cards">
      <legend>${field.label}</legend>
      ${field.options.map(({ value, label, hint }, index) => {
        const checked = trusted(index === 0 ? 'checked' : '')
        return html`<label>
          <input type="radio" form="pay" name="${field.name}" value="${value}" ${checked} />
          <span><b>${label}</b> <small>${hint ?? null}</small></span>
        </label>`
      })}
    </fieldset>`
  }
  return html`<label class="field">
    ${field.label}
    <select form="pay" name="${field.name}">
      ${field.options.map(({ value, label }) => html`<option value="${value}">${label}</option>`)}
    </select>
  </label>`
}

function renderHidden(fields: Record<string, string>): Html[] {
  return Object.entries(fields).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`,
  )
}

function replyPage(
  status: number,
  provider: PaymentProviderId,
  title: string,
  main: Html,
  script = '',
): Reply {
  const nonce = randomBytes(12).toString('base64')
  const page = html`<!doctype html>
    <html lang="es">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <link rel="icon" href="data:," />
        <style nonce="${nonce}">
          ${trusted(payStyle)}
        </style>
      </head>
      <body class="${provider}">
        <header>
          <span class="wordmark">${wordmarks[provider]}</span>
          <span class="simulated">Simulación: no se mueve dinero</span>
        </header>
        ${main}
        <footer>Página de pago del sandbox de PipeCore</footer>
        ${
          script === ''
            ? null
            : html`<script nonce="${nonce}">
                ${trusted(script)}
              </script>`
        }
      </body>
    </html>`
  // Browsers hold redirects after a form to form-action too, and the shop may live anywhere.
  const policy = `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'; img-src data:; base-uri 'none'; form-action http: https:; frame-ancestors 'none'`
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': policy,
    'cache-control': 'no-store',
  }
  return { status, headers, body: page.markup }
}
