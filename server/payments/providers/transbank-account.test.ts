import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { transbank } from './transbank.ts'
import {
  apiKey,
  approvedShop,
  createChargeCommand,
  createCheckoutCommand,
  createRef,
  readAccount,
  startDouble,
} from './testing/transbank.ts'

const double = await startDouble({ after })
const { commerceCode } = readAccount()
const direct = { flow: 'direct', providerCheckoutId: undefined } as const

describe('what is impossible is told before any call', () => {
  type Case = [
    name: string,
    command: Parameters<NonNullable<typeof transbank.checkPayment>>[0],
    account: object,
    field: string,
  ]
  const cases: Case[] = [
    ['another currency', createCheckoutCommand({ currency: 'USD' }), {}, 'currency'],
    ['a currency it never takes', createCheckoutCommand({ currency: 'COP' }), {}, 'amount'],
    ['a broken amount', createCheckoutCommand({ amount: 10.99 }), {}, 'amount'],
    ['holding at a code that captures', createCheckoutCommand({ capture: 'manual' }), {}, 'capture'],
    ['capturing at a code that holds', createCheckoutCommand(), { deferred: true }, 'capture'],
    ['holding a charge', createChargeCommand({ capture: 'manual' }), { deferred: true }, 'capture'],
    [
      'installments of what is held',
      createChargeCommand({ capture: 'manual', installments: 2 }),
      { oneclickDeferred: true },
      'installments',
    ],
    [
      'a card without Oneclick',
      createChargeCommand(),
      {
        oneclickCommerceCode: undefined,
        oneclickChildCommerceCode: undefined,
        oneclickApiKey: undefined,
      },
      'method_id',
    ],
  ]
  for (const [name, command, account, field] of cases) {
    test(name, async () => {
      const context = double.context(account as Record<string, unknown>)
      const faults = transbank.checkPayment?.(command, context.credentials) ?? []
      assert.ok(
        faults.some((fault) => fault.field === field),
        JSON.stringify(faults),
      )
      const start = double.calls.length
      const outcome =
        'method' in command
          ? await transbank.createPayment?.(command, context)
          : await transbank.createCheckout(command, context)
      assert.equal(outcome?.outcome, 'refused')
      assert.equal(double.calls.length, start)
    })
  }

  test('a payment that is possible has no fault', () => {
    assert.deepEqual(transbank.checkPayment?.(createCheckoutCommand(), readAccount()), [])
    assert.deepEqual(transbank.checkPayment?.(createChargeCommand(), readAccount()), [])
  })
})

describe('credentials', () => {
  test('the usual comes by itself', () => {
    assert.deepEqual(transbank.credentials.parse({ commerceCode, apiKey }), {
      commerceCode,
      apiKey,
      environment: 'integration',
      currency: 'CLP',
      deferred: false,
      oneclickDeferred: false,
      responseCodeLevel: 1,
      refundWindowDays: 90,
      captureWindowDays: 7,
      reversalWindowMinutes: 180,
      formTimeoutMinutes: 10,
    })
  })

  test('every fault is named at once', () => {
    const given = {
      commerceCode: '1234',
      apiKey: 'short',
      environment: 'test',
      oneclickCommerceCode: '597087654321',
      refundWindowDays: 0,
      apikey: 'x',
    }
    const { error } = transbank.credentials.safeParse(given)
    const fields = error?.issues.flatMap((issue) =>
      issue.code === 'unrecognized_keys' ? issue.keys : [issue.path.join('.')],
    )
    assert.deepEqual(fields?.toSorted(), [
      'apiKey',
      'apikey',
      'commerceCode',
      'environment',
      'oneclickChildCommerceCode',
      'refundWindowDays',
    ])
  })

  test('the environment chooses the host', () => {
    assert.equal(
      transbank.baseUrlOf?.(readAccount({ environment: 'production' })),
      'https://webpay3g.transbank.cl',
    )
    assert.equal(transbank.baseUrlOf?.(readAccount()), 'https://webpay3gint.transbank.cl')
  })

  test('Oneclick uses the key of Webpay unless it has its own', async () => {
    double.answerWith(approvedShop())
    await transbank.read(createRef(direct), double.context({ oneclickApiKey: undefined }))
    assert.equal(double.calls.at(-1)?.headers['tbk-api-key-secret'], apiKey)
  })

  test('the windows follow the settings', () => {
    const reversalMs = 180 * 60_000
    const fullRefundOnly = ['debit', 'prepaid']
    assert.deepEqual(transbank.windows(readAccount()), { refundDays: 90, reversalMs, fullRefundOnly })
    const changed = { deferred: true, captureWindowDays: 5, refundWindowDays: 30, reversalWindowMinutes: 60 }
    assert.deepEqual(transbank.windows(readAccount(changed)), {
      refundDays: 30,
      captureDays: 5,
      reversalMs: 60 * 60_000,
      fullRefundOnly,
    })
  })
})
