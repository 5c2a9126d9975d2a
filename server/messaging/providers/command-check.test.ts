import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkCommand } from './command-check.ts'
import type { MessagingProvider, SendCommand } from './provider.ts'

const command: SendCommand = {
  messageId: 'msg_1',
  tenantId: 't_1',
  channel: 'sms',
  to: '+56911112222',
  text: 'hola',
  media: [],
  attachments: [],
}
const bare: Pick<MessagingProvider, 'title' | 'channels' | 'capabilities'> = {
  title: 'Acme',
  channels: ['sms'],
  capabilities: {
    idempotency: undefined,
    templates: false,
    media: false,
    attachments: false,
    maxTextLength: { sms: 10 },
  },
}

test('a text within the limit can be carried', () => assert.equal(checkCommand(command, bare), undefined))

const lacking: Record<string, Partial<SendCommand>> = {
  'has no templates': { template: { name: 'a', variables: [] } },
  'carries no media': { media: [{ kind: 'image', url: 'https://example.com/a.png' }] },
  'carries no attachments': {
    attachments: [{ filename: 'a.txt', contentType: 'text/plain', contentBase64: '' }],
  },
  'carries no email': { channel: 'email' },
  'carries at most 10 characters': { text: 'x'.repeat(11) },
}
for (const [words, changes] of Object.entries(lacking)) {
  test(`a provider that ${words} refuses in those words and lets another one try`, () => {
    const refused = checkCommand({ ...command, ...changes }, bare)
    assert.ok(refused?.outcome === 'refused')
    assert.ok(refused.error.message.startsWith(`Acme ${words}`))
    assert.equal(refused.error.failover, true)
  })
}
