/**
 * Receives events in Supabase: this is `supabase/functions/pipecore-events/index.ts`. The work is done by the
 * database function `handle_pipecore_event` of docs/guides/receiving-events.md, which handles each event once.
 */
const secret = (Deno.env.get('PIPECORE_WEBHOOK_SECRET') ?? '').replace('whsec_', '')
const serviceKey = Deno.env.get('SUPABASE_SERVICE_ROLE_KEY') ?? ''
const toleranceSeconds = 300

Deno.serve(async (request) => {
  const body = await request.text()
  if (!(await isSigned(request.headers, body))) return new Response(null, { status: 401 })
  const handled = await fetch(`${Deno.env.get('SUPABASE_URL')}/rest/v1/rpc/handle_pipecore_event`, {
    method: 'POST',
    headers: {
      apikey: serviceKey,
      authorization: `Bearer ${serviceKey}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ event: JSON.parse(body) }),
  })
  // Anything but 2xx, and PipeCore comes again.
  return new Response(null, { status: handled.ok ? 204 : 500 })
})

async function isSigned(headers: Headers, body: string): Promise<boolean> {
  const id = headers.get('webhook-id')
  const timestamp = headers.get('webhook-timestamp')
  const ageSeconds = Math.abs(Date.now() / 1000 - Number(timestamp))
  if (!id || !timestamp || !(ageSeconds <= toleranceSeconds)) return false
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', decode(secret), algorithm, false, ['verify'])
  const text = new TextEncoder().encode(`${id}.${timestamp}.${body}`)
  for (const signature of (headers.get('webhook-signature') ?? '').split(' ')) {
    const [version, value = ''] = signature.split(',')
    if (version === 'v1' && (await crypto.subtle.verify('HMAC', key, decode(value), text))) return true
  }
  return false
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
  } catch {
    return new Uint8Array(0)
  }
}
