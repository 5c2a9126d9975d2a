import { createHmac } from 'node:crypto'

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

function writeParameters(form: URLSearchParams): string {
  const names = [...new Set(form.keys())].toSorted()
  const valuesOf = (name: string) => [...new Set(form.getAll(name))].toSorted()
  return names.flatMap((name) => valuesOf(name).map((value) => name + value)).join('')
}

function listSignedUrls(publicUrl: string): string[] {
  const url = publicUrl.split('#', 1)[0] ?? ''
  const parts = /^(https?):\/\/([^/?]*?)(:\d+)?([/?].*)?$/i.exec(url)
  if (!parts) return [url]
  const [, scheme = '', host = '', port = scheme === 'https' ? ':443' : ':80', rest = ''] = parts
  return [`${scheme}://${host}${rest}`, `${scheme}://${host}${port}${rest}`]
}
