import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isAutomatedMail, readMailbox, readMailHeaders, writeMailbox } from './mailbox.ts'

const single: Record<string, object> = {
  'a@b.cl': { email: 'a@b.cl' },
  ' a@b.cl ': { email: 'a@b.cl' },
  '<a@b.cl>': { email: 'a@b.cl' },
  'Ana Díaz <a@b.cl>': { email: 'a@b.cl', name: 'Ana Díaz' },
  '"Díaz, Ana" <a@b.cl>': { email: 'a@b.cl', name: 'Díaz, Ana' },
  '"A \\"B\\" \\\\" <a@b.cl>': { email: 'a@b.cl', name: 'A "B" \\' },
}
for (const [text, expected] of Object.entries(single)) {
  test(`${text} is one address`, () => assert.deepEqual(readMailbox(text), expected))
}

const none = [
  '',
  'a',
  'a@b.cl, c@d.cl',
  'A <a@b.cl>, B <c@d.cl>',
  'x@y.cl, A <a@b.cl>',
  'A <a@b.cl> <c@d.cl>',
  'A <a@b.cl>\r\nBcc: c@d.cl',
  'a@b.cl\nc',
  'A\u0000 <a@b.cl>',
  'a@b@c.cl',
  `${'a'.repeat(250)}@b.cl`,
  `${'a'.repeat(1_000)} <a@b.cl>`,
]
for (const text of none) {
  test(`${JSON.stringify(text.slice(0, 40))} is not one address`, () =>
    assert.equal(readMailbox(text), undefined))
}

test('a name that is written is read back, whatever is in it', () => {
  const name = fc.string({ unit: 'grapheme' }).filter((text) => text.trim() !== '' && !/\p{Cc}/u.test(text))
  fc.assert(
    fc.property(name, (text) => {
      const mailbox = { email: 'a@b.cl', name: text.trim() }
      assert.deepEqual(readMailbox(writeMailbox(mailbox)), mailbox)
    }),
  )
})

test('header lines are unfolded, their names lower-case, repeated ones joined', () => {
  const headers = readMailHeaders('Subject: a\r\n b\r\nReceived: one\nReceived: two\n: no\nnothing\n')
  assert.deepEqual(headers, { subject: 'a b', received: 'one\ntwo' })
})

test('machines are told from people', () => {
  const machine = (headers: Record<string, string>, from = 'ana@b.cl', path?: string) =>
    isAutomatedMail(headers, from, path)
  assert.equal(machine({}), false)
  assert.equal(machine({ 'auto-submitted': 'No' }), false)
  assert.equal(machine({ 'auto-submitted': 'auto-generated' }), true)
  assert.equal(machine({ precedence: 'bulk' }), true)
  assert.equal(machine({ precedence: 'first-class' }), false)
  assert.equal(machine({ 'list-id': '<l>' }), true)
  assert.equal(machine({}, 'no-reply@b.cl'), true)
  assert.equal(machine({}, 'Mailer-Daemon@b.cl'), true)
  assert.equal(machine({}, 'ana@b.cl', '<>'), true)
  assert.equal(machine({}, 'ana@b.cl', 'ana@b.cl'), false)
})
