import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decimalsOf,
  fromWireInteger,
  fromWireNumber,
  toWireInteger,
  toWireNumber,
  wireProblem,
  writeAmount,
} from './money.ts'
import { paymentProviders } from './providers/index.ts'

const currencies = ['CLP', 'COP', 'PYG', 'USD', 'MXN', 'ARS', 'PEN', 'UYU', 'BRL']

test('amounts are written with the decimals of their currency', () => {
  assert.equal(writeAmount(15_990, 'CLP'), '15990')
  assert.equal(writeAmount(1_299_050, 'COP'), '12990.50')
  assert.equal(writeAmount(5, 'USD'), '0.05')
  assert.equal(writeAmount(1_234, 'KWD'), '1.234')
})

for (const provider of paymentProviders) {
  const { wire } = provider.capabilities
  const carrier = { title: provider.title, wire }
  const known = Object.keys(wire)

  test(`${provider.title}: no amount is sent with other digits than it has`, () => {
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.integer({ min: 1, max: 10 ** 12 }), (currency, minor) => {
        if (wireProblem(minor, currency, carrier) !== undefined) {
          assert.throws(() => toWireInteger(minor, currency, wire), RangeError)
          return
        }
        const sent = toWireInteger(minor, currency, wire)
        assert.equal(fromWireInteger(sent, currency, wire), minor)
        const written = toWireNumber(minor, currency, wire)
        assert.equal(fromWireNumber(written, currency), minor)
        const decimals = String(written).split('.')[1]?.length ?? 0
        assert.ok(decimals <= (wire[currency] ?? 0), `${written} has ${decimals} decimals`)
      }),
    )
  })

  test(`${provider.title}: a currency it does not take is refused in words`, () => {
    assert.match(wireProblem(100, 'XTS', carrier) ?? '', /takes no XTS/)
  })
}

test('the amounts of every provider, per currency, for 12,990 and 12,990.50', () => {
  const table = paymentProviders.map((provider) => [
    provider.id,
    currencies.map((currency) => {
      const { wire } = provider.capabilities
      const whole = 12_990 * 10 ** decimalsOf(currency)
      if (wire[currency] === undefined) return `${currency} -`
      const half =
        decimalsOf(currency) === 0
          ? undefined
          : wireProblem(whole + 50, currency, { title: provider.title, wire })
      return `${currency} ${toWireInteger(whole, currency, wire)}${half === undefined ? '' : ' whole'}`
    }),
  ])
  assert.deepEqual(Object.fromEntries(table), {
    mercadopago: [
      'CLP 12990',
      'COP 12990 whole',
      'PYG 12990',
      'USD 1299000',
      'MXN 1299000',
      'ARS 1299000',
      'PEN 1299000',
      'UYU 1299000',
      'BRL 1299000',
    ],
    transbank: ['CLP 12990', 'COP -', 'PYG -', 'USD 1299000', 'MXN -', 'ARS -', 'PEN -', 'UYU -', 'BRL -'],
    stripe: [
      'CLP 12990',
      'COP 1299000',
      'PYG 12990',
      'USD 1299000',
      'MXN 1299000',
      'ARS 1299000',
      'PEN 1299000',
      'UYU 1299000',
      'BRL 1299000',
    ],
  })
})

test('COP 12990.50 is refused for MercadoPago and told why', () => {
  const mercadopago = { title: 'MercadoPago', wire: { COP: 0 } }
  assert.equal(
    wireProblem(1_299_050, 'COP', mercadopago),
    "COP 12990.50 can't be sent to MercadoPago: it takes whole units only of COP.",
  )
})

test('an amount in a currency without decimals gains them where the provider wants them', () => {
  assert.equal(toWireInteger(100, 'UGX', { UGX: 2 }), 10_000)
  assert.equal(fromWireInteger(10_000, 'UGX', { UGX: 2 }), 100)
})

test('binary fractions do not become other amounts', () => {
  assert.equal(fromWireNumber(0.1 + 0.2, 'USD'), 30)
  assert.equal(fromWireNumber(1.005, 'USD'), 101)
  assert.equal(fromWireNumber(4.35, 'USD'), 435)
  assert.equal(fromWireNumber(10_000.0, 'CLP'), 10_000)
})
