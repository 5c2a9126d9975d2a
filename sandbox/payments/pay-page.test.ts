import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readPayForm, renderBrowserStep, renderPayPage } from './pay-page.ts'
import type { PayPage } from './pay-page.ts'
import { decodeForm, PLAIN, RETURN_URL, startTransbank } from './test-transbank.ts'

const EVIL = '<script>alert("1")</script>'

const page: PayPage = {
  provider: 'stripe',
  title: 'Total a pagar',
  merchant: EVIL,
  amount: 1_299_050,
  currency: 'COP',
  lines: [{ title: `Pizza ${EVIL}`, amount: 1_299_050 }],
  reference: EVIL,
  state: 'open',
  isOpen: true,
  notice: EVIL,
  fields: [{ kind: 'cards', name: 'card', label: 'Tarjeta', options: [{ value: EVIL, label: EVIL }] }],
  choices: [
    { name: 'approve', label: EVIL, hint: EVIL, tone: 'good' },
    { name: 'decline', label: 'No', hint: 'no', tone: 'bad', fields: { reason: EVIL } },
  ],
  hidden: { token: EVIL },
}

test('a pay page escapes whatever came in, loads nothing from outside and runs no foreign script', () => {
  const { status, headers, body } = renderPayPage(page)
  const text = String(body)
  assert.equal(status, 200)
  assert.ok(!text.includes(EVIL))
  assert.match(text, /&lt;script&gt;alert\(&quot;1/)
  assert.ok(!/(?:src|href|action)="(?:https?:)?\/\//.test(text))
  assert.ok(!text.includes('<script'))
  const policy = headers?.['content-security-policy'] ?? ''
  for (const part of ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"])
    assert.ok(policy.includes(part), part)
  assert.ok(!policy.includes('unsafe'))
})

test('amounts are written in the currency’s own decimals, for people in Chile', () => {
  const amountOf = (amount: number, currency: string) =>
    String(renderPayPage({ ...page, amount, currency }).body).replaceAll('\u00a0', ' ')
  assert.match(amountOf(24_990, 'CLP'), /\$24\.990/)
  assert.match(amountOf(1_299_050, 'COP'), /COP 12\.990,50/)
  assert.match(amountOf(1_050, 'USD'), /US\$10,50/)
  assert.match(amountOf(1_500, 'no currency'), /15,00/)
})

test('a closed page takes no payment', () => {
  const text = String(renderPayPage({ ...page, isOpen: false }).body)
  assert.ok(!text.includes('name="choice"'))
  assert.match(text, /ya no acepta pagos/)
})

test('the browser goes on by a redirect that keeps the URL, or by a form that submits itself', () => {
  const fields = { token_ws: 'a b&c' }
  const go = (url: string) => renderBrowserStep({ method: 'GET', url, fields }).headers?.['location']
  assert.equal(go('https://shop.example/r?p=%20x'), 'https://shop.example/r?p=%20x&token_ws=a+b%26c')
  assert.equal(go('https://shop.example/r#part'), 'https://shop.example/r?token_ws=a+b%26c#part')
  const posted = renderBrowserStep({ method: 'POST', url: RETURN_URL, fields: { x: EVIL } })
  const text = String(posted.body)
  const [, nonce = ''] = /<script nonce="([^"]+)"/.exec(text) ?? []
  assert.ok(posted.headers?.['content-security-policy']?.includes(`script-src 'nonce-${nonce}'`))
  assert.match(text, /<button class="main good">Volver al comercio<\/button>/)
  assert.ok(!text.includes(EVIL))
  assert.equal(renderBrowserStep({ method: 'POST', url: 'javascript:alert(1)', fields }).status, 400)
})

test('a person pays at Webpay: the page comes by GET or POST of the token, and a choice sends the browser back', async (t) => {
  const { sandbox, webpay, create, advance } = await startTransbank(t)
  await sandbox.control('PUT', `/accounts/transbank/${PLAIN}`, { merchant: 'Da Vinci' })
  const { token, url } = await create('order-1', 24_990)
  const visit = async (form: Record<string, string>) => {
    const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(form), redirect: 'manual' })
    return { status: answer.status, location: answer.headers.get('location'), text: await answer.text() }
  }
  const shown = await visit({ token_ws: token })
  assert.match(shown.text, /Da Vinci/)
  assert.match(shown.text, /\$24\.990/)
  assert.equal((await (await fetch(`${url}?token_ws=${token}`)).text()).length, shown.text.length)
  assert.equal((await visit({ token_ws: '00' })).status, 404)
  const left = await visit({ token_ws: token, choice: 'close_tab', card: '4051885600446623' })
  assert.match(left.text, /cerró la pestaña/)
  const wrong = await visit({ token_ws: token, choice: 'approve', card: '1' })
  assert.match(wrong.text, /test cards/)
  const chosen = { choice: 'approve', card: '4051885600446623', installments: '2', reason: '-1' }
  const paid = await visit({ token_ws: token, ...chosen })
  assert.deepEqual([paid.status, paid.location], [303, `${RETURN_URL}&token_ws=${token}`])
  assert.match((await visit({ token_ws: token })).text, /ya no acepta pagos/)
  const { installments_number: count } = (await webpay.commit(token)) as Record<string, unknown>
  assert.equal(count, 2)
  const broken = await visit({ token_ws: token, choice: 'broken_form' })
  assert.deepEqual(decodeForm(broken.text), {
    token_ws: token,
    TBK_TOKEN: token,
    TBK_ORDEN_COMPRA: 'order-1',
    TBK_ID_SESION: 'pay_1',
  })
  const old = await create('order-2')
  await advance(11 * 60_000)
  assert.match((await visit({ token_ws: old.token })).text, /Se acabó el tiempo/)
  const expired = await visit({ token_ws: old.token, ...chosen })
  assert.equal(expired.location, `${RETURN_URL}&TBK_ORDEN_COMPRA=order-2&TBK_ID_SESION=pay_1`)
})

test('what was posted is read as a form', () => {
  const body = Buffer.from('choice=approve&card=1')
  const call = { method: 'POST', path: '/', query: new URLSearchParams(), headers: {}, body }
  assert.deepEqual(readPayForm(call), { choice: 'approve', card: '1' })
})
