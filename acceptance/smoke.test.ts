import { test } from 'node:test'
import { createClient, startBackend, startPipeCore, startSandbox } from './harness.ts'
test('smoke', async (t) => {
  let s = performance.now()
  const lap = (w: string) => { console.log(w, Math.round(performance.now() - s)); s = performance.now() }
  const sandbox = await startSandbox(t); lap('sandbox')
  const pc = await startPipeCore(t, { sandbox }); lap('pipecore')
  const b = await startBackend(t)
  const c = createClient(pc.url, pc.adminKey)
  await c.ok('POST', '/products', { id: 'p1', name: 'P' })
  await c.ok('POST', '/tenants', { id: 't1', product_id: 'p1', name: 'T' })
  const e = await c.ok<{secret: string}>('POST', '/webhooks/endpoints', { url: b.url, tenant_id: 't1' })
  b.trust(e.secret)
  await c.ok('POST', '/messaging/config/provider', { tenantId: 't1', channel: 'sms', provider: 'twilio', credentials: { accountSid: 'AC_x', authToken: 'tok_x_fake', phoneNumber: '+15005550006' } })
  await c.ok('POST', '/messaging/send/sms', { tenant_id: 't1', to: '+56988888888', body: 'hola' })
  await b.waitFor('message.delivered'); lap('delivered')
  await pc.kill('SIGKILL'); lap('kill')
  await pc.restart(); lap('restart')
  await pc.restart(); lap('restart2')
})
