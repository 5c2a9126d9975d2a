import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextRetryMs } from './retries.ts'
import { defaultSettings } from './world.ts'

test('payment webhooks come again at their provider’s own gaps, until it gives up', () => {
  const settings = { ...defaultSettings(), patience_ms: 0, retry_factor: 1 }
  const gapsOf = (provider: 'stripe' | 'mercadopago') => {
    const gaps: number[] = []
    for (let attempts = 1; ; attempts += 1) {
      const failed = { url: 'http://x', attempts, ageMs: 0, status: 500, failure: '', settings }
      const gap = nextRetryMs(provider, failed)
      if (gap === null) return gaps
      gaps.push(gap / 60_000)
    }
  }
  const [stripe, mercadopago] = [gapsOf('stripe'), gapsOf('mercadopago')]
  assert.deepEqual(mercadopago.slice(0, 4), [15, 15, 15, 30])
  assert.ok(mercadopago.length < 20)
  assert.ok(stripe.every((gap, index) => index === 0 || gap >= stripe[index - 1]!))
  const days = stripe.reduce((sum, gap) => sum + gap, 0) / 1_440
  assert.ok(days > 2 && days < 4, `${days} days`)
})
