import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { transbank } from './transbank.ts'
import { oneclick, startDouble, webpay } from './testing/transbank.ts'

const double = await startDouble({ after })
const testKey = '579B532A7440BB0C9079DED94D31EA1615BACEB56610332264630D42D0A36B1C'
const webpayOnly = {
  oneclickCommerceCode: undefined,
  oneclickChildCommerceCode: undefined,
  oneclickApiKey: undefined,
}
const testing = { ...webpayOnly, commerceCode: '597055555532', apiKey: testKey }
const known = { status: 422, body: { error_message: 'Transaction not found' } }
const refused = { status: 401, body: { error_message: 'Not Authorized' } }

async function check(account: Record<string, unknown>, answer: { status: number; body: unknown } = known) {
  double.answerWith(answer.body, answer.status)
  const { ok, notes } = await transbank.check(double.context(account))
  for (const note of notes) assert.match(note, /^\S.{20,}$/)
  return { ok, text: notes.join(' ') }
}

describe('the check of credentials', () => {
  test('asks for a transaction that nobody has, once per commerce code', async () => {
    const start = double.calls.length
    const { ok, text } = await check({ environment: 'production' })
    assert.equal(ok, true, text)
    assert.match(text, /accepts the API key of commerce code 597012345678.*of commerce code 597087654321/)
    assert.deepEqual(
      double.calls.slice(start).map(({ method, path }) => [method, path]),
      [
        ['GET', `${webpay}/transactions/${'0'.repeat(64)}`],
        ['GET', `${oneclick}/transactions/${'0'.repeat(26)}`],
      ],
    )
  })

  test('takes every word for an unknown transaction, and the test credentials', async () => {
    for (const answer of [known, { status: 404, body: known.body }, { status: 200, body: {} }]) {
      assert.equal((await check(testing, answer)).ok, true)
    }
  })

  test('says that cards need Oneclick', async () => {
    assert.match((await check(testing)).text, /Cards can be saved.*oneclickCommerceCode/)
  })

  test('a key that is refused: which one, and what to look at', async () => {
    const production = await check({ environment: 'production' }, refused)
    assert.equal(production.ok, false)
    assert.match(production.text, /production.* does not accept .*597012345678.*key of this very code/)
    const integration = await check(webpayOnly, refused)
    assert.match(integration.text, /belong to production: set environment to production/)
    const mixed = await check({ ...testing, apiKey: '0badc0de'.repeat(8) }, refused)
    assert.match(mixed.text, /Test codes take the public test key/)
  })

  test('Oneclick alone may be wrong, for want of its own key', async () => {
    double.answerBy(({ path }) => (path.startsWith(oneclick) ? refused : known))
    const context = double.context({ environment: 'production', oneclickApiKey: undefined })
    const { ok, notes } = await transbank.check(context)
    assert.equal(ok, false)
    assert.match(notes[0] ?? '', /accepts the API key/)
    assert.match(notes[1] ?? '', /does not accept.*597087654321.*add oneclickApiKey/)
  })

  const contradictions: Array<[name: string, account: object, words: RegExp]> = [
    ['a test code in production', { environment: 'production' }, /public test code/],
    [
      'the test key in production',
      { environment: 'production', commerceCode: '597012345678' },
      /public one of integration/,
    ],
    ['the test key with a code of its own', { commerceCode: '597012345678' }, /is none of them/],
    ['a test code that holds', { commerceCode: '597055555540' }, /Set deferred to true/],
    ['a test code that does not hold', { deferred: true }, /Set deferred to false/],
    ['a test Mall without its shop', { commerceCode: '597055555535' }, /a Mall: add mallChildCommerceCode/],
    [
      'a shop without a Mall',
      { mallChildCommerceCode: '597055555536' },
      /no Mall: remove mallChildCommerceCode/,
    ],
    [
      'a test Oneclick that holds',
      { oneclickCommerceCode: '597055555547', oneclickChildCommerceCode: '597055555548' },
      /Set oneclickDeferred to true/,
    ],
  ]
  for (const [name, account, words] of contradictions) {
    test(`${name} is told, although Transbank accepts it`, async () => {
      const { ok, text } = await check({ ...testing, ...account })
      assert.equal(ok, false)
      assert.match(text, words)
    })
  }

  test('never throws: whatever is wrong is a note', async () => {
    for (const answer of [
      { status: 500, body: '<html>' },
      { status: 404, body: '<html>' },
      { status: 429, body: {} },
    ]) {
      assert.equal((await check(testing, answer)).ok, false)
    }
    const gone = await transbank.check(double.context(testing, { baseUrl: 'http://127.0.0.1:1' }))
    assert.equal(gone.ok, false)
    assert.match(gone.notes[0] ?? '', /no connection could be made/)
  })
})
