import { testMessagingProvider } from './conformance.ts'
import { twilio } from './twilio.ts'

testMessagingProvider({
  provider: twilio,
  channel: 'whatsapp',
  account: { name: 'AC_tableflow_twilio_sid', input: { token: 'twilio-secret-token' } },
  credentials: () => ({
    accountSid: 'AC_tableflow_twilio_sid',
    authToken: 'twilio-secret-token',
    whatsappNumber: 'whatsapp:+14155238886',
  }),
  wrong: { authToken: 'another-secret-token' },
  stranger: { accountSid: 'AC_somebody_else' },
  template: {
    name: `HX${'0a'.repeat(16)}`,
    variables: [
      { name: 'customer', value: 'Ana' },
      { name: 'order', value: 'ORD-123' },
    ],
  },
  media: { kind: 'image', url: 'https://example.com/a%20b.png', caption: 'Mira' },
  inbound: {
    input: { from: 'whatsapp:+56933334444', to: 'whatsapp:+14155238886', text: 'Hola, ¿está listo? 👋 ' },
    from: '+56933334444',
    to: '+14155238886',
    text: 'Hola, ¿está listo? 👋 ',
  },
  echo: (text) => JSON.stringify({ code: 20001, message: text, status: 400 }),
  signsUrl: true,
})
