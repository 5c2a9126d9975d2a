import { writeMoney } from '../payments/amounts.ts'
import type { LedgerEntry } from '../payments/ledger.ts'
import { listOpenPages } from '../payments/payment-control.ts'
import type { PaymentProviderId } from '../payments/simulator.ts'
import type { Site } from '../site.ts'
import { clockOf, titles } from './cards.ts'
import { html } from './html.ts'
import type { Html } from './html.ts'

const SHOWN_PAGES = 5
const SHOWN_PAYMENTS = 8
const LOOKED_AT = 400

type Payment = {
  provider: PaymentProviderId
  reference: string
  amount: number
  currency: string
  at: string
  sums: Map<LedgerEntry['kind'], { count: number; amount: number }>
}

/** Pages on which a customer could pay now, and what the providers’ books say of the latest payments. */
export function renderPayments(site: Site): Html {
  const pages = listOpenPages(site, SHOWN_PAGES)
  const payments = listLatest(site.world.ledger)
  const isQuiet = pages.length === 0 && payments.length === 0
  return html`<section class="panel" id="payments" data-live>
    <h2>Payments</h2>
    ${isQuiet ? html`<p class="quiet">None yet.</p>` : null}
    <ul class="pages">
      ${pages.map(
        (page) =>
          html`<li>
            <a href="${page.path}" target="_blank" rel="noopener">
              <em class="${page.provider}">${titles[page.provider]}</em>
              <span>${page.reference ?? page.title}</span>
              <b>${writeMoney(page.amount, page.currency)}</b>
              <i>pay ↗</i>
            </a>
          </li>`,
      )}
    </ul>
    <ol class="books">
      ${payments.map(renderPayment)}
    </ol>
  </section>`
}

/** Newest first, of the last movements in the books. */
function listLatest(ledger: LedgerEntry[]): Payment[] {
  const payments = new Map<string, Payment>()
  for (const entry of ledger.slice(-LOOKED_AT).toReversed()) {
    const { provider, reference, payment, currency, at, kind, amount } = entry
    const key = `${provider} ${reference ?? payment}`
    const known = payments.get(key) ?? {
      provider,
      reference: reference ?? payment,
      amount,
      currency,
      at,
      sums: new Map(),
    }
    const sum = known.sums.get(kind) ?? { count: 0, amount: 0 }
    known.sums.set(kind, { count: sum.count + 1, amount: sum.amount + amount })
    // Going back in time: the first movement is what it was about.
    known.amount = amount
    payments.set(key, known)
  }
  return [...payments.values()].slice(0, SHOWN_PAYMENTS)
}

const words = [
  ['authorization', 'held', 'wait'],
  ['charge', 'charged', 'good'],
  ['refund', 'refunded', 'fault'],
  ['void', 'let go', 'none'],
] as const

function renderPayment({ provider, reference, amount, currency, at, sums }: Payment): Html {
  return html`<li>
    <em class="${provider}">${titles[provider]}</em>
    <b>${writeMoney(amount, currency)}</b>
    ${words.map(([kind, word, tone]) => {
      const sum = sums.get(kind)
      if (!sum || (kind === 'authorization' && (sums.has('charge') || sums.has('void')))) return html``
      const part = sum.amount === amount * sum.count ? '' : ` ${writeMoney(sum.amount, currency)}`
      return html`<span class="pill ${tone}"
        ><b>${word}</b>${part}${sum.count > 1 ? ` ×${sum.count}` : ''}</span
      >`
    })}
    <small><time>${clockOf(at)}</time> <code>${reference}</code></small>
  </li>`
}
