import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listPlaceholders, renderBodies } from './rendering.ts'

test('placeholders are listed once, in the order they first stand', () => {
  assert.deepEqual(
    listPlaceholders({ subject: 'Pedido {{order}}', text: 'Hola {{ name }}, {{order}}', html: '{{total}}' }),
    ['order', 'name', 'total'],
  )
})

test('values are escaped in html, kept in text and put on one line in the subject', () => {
  const rendered = renderBodies(
    { subject: 'A {{name}}', text: '{{name}}', html: '<b>{{name}}</b>' },
    { name: "<i>Ana\n& 'Co'</i>" },
  )
  assert.equal(rendered.subject, "A <i>Ana & 'Co'</i>")
  assert.equal(rendered.text, "<i>Ana\n& 'Co'</i>")
  assert.equal(rendered.html, '<b>&lt;i&gt;Ana\n&amp; &#39;Co&#39;&lt;/i&gt;</b>')
})

test('a value that looks like a placeholder is not filled again', () => {
  assert.equal(renderBodies({ text: '{{a}}' }, { a: '{{b}}', b: 'secret' }).text, '{{b}}')
})
