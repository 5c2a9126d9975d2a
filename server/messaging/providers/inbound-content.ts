/** `image`, `video` or `audio` by content type; everything else is a `document`. */
export function readMediaKind(contentType: string | null | undefined): string {
  const kind = contentType?.split('/', 1)[0]?.toLowerCase() ?? ''
  return ['image', 'video', 'audio'].includes(kind) ? kind : 'document'
}

interface Location {
  latitude?: string | number | null
  longitude?: string | number | null
  name?: string | null
  address?: string | null
}

/** A shared place as text: `Home, 1 Main St (-33.4, -70.6)`; undefined without coordinates. */
export function describeLocation({ latitude, longitude, name, address }: Location): string | undefined {
  if (latitude == null || longitude == null) return undefined
  return [[name, address].filter(Boolean).join(', '), `(${latitude}, ${longitude})`].filter(Boolean).join(' ')
}
