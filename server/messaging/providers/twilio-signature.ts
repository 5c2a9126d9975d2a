import { createHmac } from 'node:crypto'
import type { RawWebhook } from '#connections'

/**
 * The signatures Twilio may give a webhook: base64 HMAC-SHA1 over the exact URL followed by every
 * parameter, sorted, as name and value. It signs the URL with or without a port, whatever the receiver
 * sees, and never a fragment.
 */
export function listTwilioSignatures(authToken: string, url: string, form: URLSearchParams): string[] {
  const parameters = writeParameters(form)
  return listSignedUrls(url).map((signed) =>
    createHmac('sha1', authToken)
      .update(signed + parameters)
      .digest('base64'),
  )
}

/** The form as it was signed, NUL characters and all. */
export function readSignedForm(webhook: RawWebhook): URLSearchParams {
  // URLSearchParams drops one leading `?`: give it ours, so that it keeps the sender's.
  return new URLSearchParams(`?${webhook.body.toString('utf8')}`)
}

function writeParameters(form: URLSearchParams): string {
  const values = Map.groupBy(form, ([name]) => name)
  const written = [...values].toSorted(([left], [right]) => (left < right ? -1 : 1))
  return written.map(([name, pairs]) => writeValues(name, pairs)).join('')
}

function writeValues(name: string, pairs: ReadonlyArray<[string, string]>): string {
  const values = new Set(pairs.map(([, value]) => value))
  return [...values]
    .toSorted()
    .map((value) => name + value)
    .join('')
}

function listSignedUrls(publicUrl: string): string[] {
  const url = publicUrl.split('#', 1)[0] ?? ''
  const parts = /^(https?):\/\/([^/?]*?)(:\d+)?([/?].*)?$/i.exec(url)
  if (!parts) return [url]
  const [, scheme = '', host = '', port = scheme === 'https' ? ':443' : ':80', rest = ''] = parts
  return [`${scheme}://${host}${rest}`, `${scheme}://${host}${port}${rest}`]
}
