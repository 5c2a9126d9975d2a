import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { format, inspect } from 'node:util'
import * as fc from 'fast-check'
import { PipeError } from './errors.ts'
import {
  createDataKey,
  generateMasterKey,
  maskSecret,
  needsRewrap,
  open,
  parseMasterKey,
  type Place,
  rewrapDataKey,
  seal,
  Secret,
  unwrapDataKey,
} from './sealing.ts'

const first = parseMasterKey(generateMasterKey())
const second = parseMasterKey(generateMasterKey())
const keys = { current: first }
const place: Place = { owner: 'tenant:a', table: 'connections', row: 'con_1', column: 'credentials' }

function dataKeyOf(owner: string) {
  return unwrapDataKey(keys, owner, createDataKey(keys, owner).wrapped)
}

function fails(code: string) {
  return (error: unknown) => error instanceof PipeError && error.code === code && error.status === 500
}

describe('a master key', () => {
  test('is the same key in hex, base64 and base64url, with an id that is the start of its SHA-256', () => {
    const bytes = randomBytes(32)
    const id = createHash('sha256').update(bytes).digest('hex').slice(0, 8)
    const padless = bytes.toString('base64').replace('=', '')
    const spellings = [bytes.toString('hex'), bytes.toString('hex').toUpperCase(), bytes.toString('base64')]
    for (const text of [...spellings, bytes.toString('base64url'), padless, ` ${padless}\n`]) {
      const parsed = parseMasterKey(text)
      assert.equal(parsed.id, id)
      assert.deepEqual(parsed.key.export(), bytes)
    }
  })

  test('that is generated is accepted and never the same twice', () => {
    const texts = Array.from({ length: 50 }, generateMasterKey)
    assert.equal(new Set(texts.map((text) => parseMasterKey(text).id)).size, 50)
  })

  test('of another length or alphabet is refused without being shown', () => {
    const bad = ['', 'short-fake', 'f'.repeat(63), `${'A'.repeat(42)}!`, randomBytes(31).toString('base64')]
    for (const text of [...bad, randomBytes(33).toString('base64'), randomBytes(48).toString('base64')]) {
      assert.throws(
        () => parseMasterKey(text),
        (error) => fails('master_key_invalid')(error) && (text === '' || !String(error).includes(text)),
      )
    }
  })

  test('is not shown by anything that prints it', () => {
    const text = generateMasterKey()
    const key = parseMasterKey(text)
    const bytes = Buffer.from(text, 'base64url')
    const printed = `${inspect(key, { depth: 9, showHidden: true })}${JSON.stringify(key)}${format('%o', key)}`
    for (const form of ['hex', 'base64', 'base64url'] as const)
      assert.ok(!printed.includes(bytes.toString(form)))
  })
})

describe('a data key', () => {
  test('opens for its owner under the key that wrapped it', () => {
    const { kekId, wrapped } = createDataKey(keys, 'tenant:a')
    assert.equal(kekId, first.id)
    const sealed = seal(unwrapDataKey(keys, 'tenant:a', wrapped), place, 'fake')
    assert.equal(open(unwrapDataKey(keys, 'tenant:a', wrapped), place, sealed), 'fake')
  })

  test('does not open for another owner', () => {
    const { wrapped } = createDataKey(keys, 'tenant:a')
    assert.throws(() => unwrapDataKey(keys, 'tenant:b', wrapped), fails('secret_unreadable'))
  })

  test('is another one for each owner and each time', () => {
    const texts = Array.from({ length: 20 }, () => createDataKey(keys, 'tenant:a').wrapped)
    const exported = texts.map((wrapped) => unwrapDataKey(keys, 'tenant:a', wrapped).export().toString('hex'))
    assert.equal(new Set(exported).size, 20)
  })

  test('opens under the previous master key, and moves to the current one without changing', () => {
    const old = createDataKey(keys, 'tenant:a')
    const sealed = seal(unwrapDataKey(keys, 'tenant:a', old.wrapped), place, 'fake')
    const rotating = { current: second, previous: first }
    assert.equal(needsRewrap(rotating, old.wrapped), true)
    assert.equal(open(unwrapDataKey(rotating, 'tenant:a', old.wrapped), place, sealed), 'fake')
    const fresh = rewrapDataKey(rotating, 'tenant:a', old.wrapped)
    assert.equal(fresh.kekId, second.id)
    assert.equal(needsRewrap(rotating, fresh.wrapped), false)
    assert.equal(open(unwrapDataKey({ current: second }, 'tenant:a', fresh.wrapped), place, sealed), 'fake')
  })

  test('of an unknown master key says which key it needs', () => {
    const { wrapped } = createDataKey(keys, 'tenant:a')
    for (const action of [unwrapDataKey, rewrapDataKey]) {
      assert.throws(
        () => action({ current: second }, 'tenant:a', wrapped),
        (error) => fails('master_key_unknown')(error) && String(error).includes(first.id),
      )
    }
  })

  test('cannot pretend to be wrapped by another master key', () => {
    const { wrapped } = createDataKey(keys, 'tenant:a')
    const forged = wrapped.replace(first.id, second.id)
    const both = { current: second, previous: first }
    assert.throws(() => unwrapDataKey(both, 'tenant:a', forged), fails('secret_unreadable'))
  })

  test('that is missing or mangled is unreadable', () => {
    for (const wrapped of [
      '',
      'v1',
      `v1.${first.id}`,
      `v1.${first.id}.`,
      `v1.${first.id}.AAAA.AAAA`,
      'v2.x.y.z',
    ]) {
      assert.throws(() => unwrapDataKey(keys, 'tenant:a', wrapped), fails('secret_unreadable'), wrapped)
    }
  })
})

describe('a sealed secret', () => {
  const dataKey = dataKeyOf('tenant:a')

  test('opens to any text it was given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        assert.equal(open(dataKey, place, seal(dataKey, place, text)), text)
      }),
    )
  })

  test('is `v1.<nonce>.<ciphertext and tag>` in base64url, different each time', () => {
    const sealed = seal(dataKey, place, 'fake')
    assert.match(sealed, /^v1\.[\w-]{16}\.[\w-]+$/)
    assert.equal(Buffer.from(sealed.split('.')[2] ?? '', 'base64url').length, 'fake'.length + 16)
    assert.notEqual(seal(dataKey, place, 'fake'), sealed)
  })

  for (const part of ['owner', 'table', 'row', 'column'] as const) {
    test(`does not open for another ${part}`, () => {
      const sealed = seal(dataKey, place, 'fake')
      assert.throws(() => open(dataKey, { ...place, [part]: 'other' }, sealed), fails('secret_unreadable'))
    })
  }

  test('does not open where the parts of its place only run together to the same text', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 8, maxLength: 8 }), (parts) => {
        const [here, there] = [parts.slice(0, 4), parts.slice(4)].map(
          ([owner = '', table = '', row = '', column = '']) => ({ owner, table, row, column }),
        )
        fc.pre(JSON.stringify(here) !== JSON.stringify(there))
        assert.ok(here && there)
        assert.throws(() => open(dataKey, there, seal(dataKey, here, 'fake')), fails('secret_unreadable'))
      }),
    )
    const sealed = seal(dataKey, { ...place, owner: 'a|b', table: 'c' }, 'fake')
    assert.throws(
      () => open(dataKey, { ...place, owner: 'a', table: 'b|c' }, sealed),
      fails('secret_unreadable'),
    )
  })

  test('does not open under the key of another owner', () => {
    const sealed = seal(dataKey, place, 'fake')
    assert.throws(() => open(dataKeyOf('tenant:b'), place, sealed), fails('secret_unreadable'))
  })

  test('does not open when any bit of its text is flipped', () => {
    const sealed = seal(dataKey, place, 'fake-secret-1')
    for (let position = 0; position < sealed.length; position += 1) {
      for (let bit = 0; bit < 7; bit += 1) {
        const flipped = String.fromCharCode(sealed.charCodeAt(position) ^ (1 << bit))
        const changed = sealed.slice(0, position) + flipped + sealed.slice(position + 1)
        assert.throws(() => open(dataKey, place, changed), fails('secret_unreadable'), `${position}:${bit}`)
      }
    }
  })

  test('does not open when it was cut, lengthened or replaced', () => {
    const sealed = seal(dataKey, place, 'fake')
    const [, nonce = '', box = ''] = sealed.split('.')
    const shortTag = Buffer.from(box, 'base64url').subarray(0, 8).toString('base64url')
    const changed = [
      '',
      'fake',
      sealed.slice(0, -4),
      `${sealed}AAAA`,
      `${sealed}=`,
      `${sealed}.`,
      ` ${sealed}`,
    ]
    for (const text of [...changed, `v1.${nonce}.${shortTag}`, `v1.${nonce}`, `v2.${nonce}.${box}`]) {
      assert.throws(() => open(dataKey, place, text), fails('secret_unreadable'), text)
    }
  })

  test('leaves nothing secret in the error', () => {
    const sealed = seal(dataKey, place, 'fake-plaintext')
    try {
      open(dataKey, { ...place, row: 'con_2' }, sealed)
      assert.fail('opened')
    } catch (error) {
      const printed = inspect(error, { depth: 9, showHidden: true })
      assert.doesNotMatch(printed, /fake-plaintext/)
      assert.ok(!printed.includes(sealed))
      assert.match(printed, /con_2/)
    }
  })
})

describe('Secret', () => {
  test('shows nothing of itself but through reveal', () => {
    const secret = new Secret('fake-value')
    const nested = { list: [secret] }
    const printed = [
      String(secret),
      JSON.stringify(nested),
      inspect(nested, { depth: 9, showHidden: true }),
      format('%s %o %O %j', secret, secret, nested, nested),
      JSON.stringify(Object.entries(secret)),
    ]
    for (const text of printed) assert.doesNotMatch(text, /fake-value/)
    assert.equal(JSON.stringify(nested), '{"list":["[redacted]"]}')
    assert.equal(secret.reveal(), 'fake-value')
  })
})

describe('maskSecret', () => {
  test('shows the last 4 characters of a long secret and none of a short one', () => {
    assert.equal(maskSecret('fake-secret-of-1234'), '••••1234')
    for (const short of ['', '1234', 'fake-secret-123']) assert.equal(maskSecret(short), '••••')
  })

  test('never tells the length', () => {
    assert.equal(maskSecret(`${'a'.repeat(500)}1234`), maskSecret(`${'b'.repeat(20)}1234`))
  })
})
