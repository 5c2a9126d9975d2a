import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import { z } from 'zod'
import { createOutbound } from '#core/outbound.ts'
import { recordAnswers } from './answer-recorder.ts'
import { secretField } from './credentials.ts'
import type { Provider } from './provider.ts'

const apiKey = 'sk_fake_key_of_the_test'
const outbound = createOutbound({ allowPrivateAddresses: true })
let body = ''
const server = createServer((_request, response) => void response.end(body)).listen(0, '127.0.0.1')
await once(server, 'listening')
after(async () => {
  server.closeAllConnections()
  server.close()
  await outbound.close()
})

async function show(answer: string): Promise<string> {
  body = answer
  const provider = { credentials: z.object({ apiKey: secretField('Key') }) } as unknown as Provider<{
    apiKey: string
  }>
  const { port } = server.address() as AddressInfo
  const baseUrl = `http://127.0.0.1:${port}`
  const given = { credentials: { apiKey }, baseUrl, webhookUrl: '', outbound, timeoutMs: 5_000 }
  const { context, lastAnswer } = recordAnswers(provider, { ...given, now: () => new Date() })
  await context.outbound.request({ method: 'GET', url: baseUrl, timeoutMs: 5_000 })
  return lastAnswer()?.text ?? ''
}

test('of an answer 2,000 characters are kept', async () => {
  assert.equal(await show('x'.repeat(1_000)), 'x'.repeat(1_000))
  assert.equal(await show('x'.repeat(5_000)), 'x'.repeat(2_000))
})

test('a cut through a character leaves no half of it', async () => {
  assert.equal(await show(`${'x'.repeat(1_999)}😀`), `${'x'.repeat(1_999)}\ufffd`)
})

test('a cut through a credential leaves no half of it', async () => {
  assert.doesNotMatch(await show(`${'x'.repeat(1_990)}${apiKey}`), /sk/)
})
