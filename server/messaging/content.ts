import type { Attachment, MediaLink } from './providers/provider.ts'
import type { SendRequest } from './schema.ts'

/** What a message says, as it is stored: templates are rendered when it is accepted. */
export interface MessageContent {
  text?: string
  html?: string
  subject?: string
  from?: string
  replyTo?: string
  media: MediaLink[]
  attachments: Attachment[]
  template?: ChosenTemplate
}

export interface ChosenTemplate {
  name: string
  locale: string
  variables: ReadonlyArray<{ name: string; value: string }>
  /** Provider id → its own name (and language) for this template. */
  references: Readonly<Record<string, { name: string; language?: string | undefined }>>
  text?: string
  html?: string
  subject?: string
}

export function contentOf(request: SendRequest, template: ChosenTemplate | undefined): MessageContent {
  const text = request.body ?? request.message ?? request.textContent
  return {
    ...(text !== undefined && { text }),
    ...(request.htmlContent !== undefined && { html: request.htmlContent }),
    ...(request.subject !== undefined && { subject: request.subject }),
    ...(request.from !== undefined && { from: request.from }),
    ...(request.replyTo !== undefined && { replyTo: request.replyTo }),
    ...(template !== undefined && { template }),
    media: request.media.map(({ kind, url, caption, filename }) => ({
      kind,
      url,
      ...(caption !== undefined && { caption }),
      ...(filename !== undefined && { filename }),
    })),
    attachments: request.attachments.map((attachment) => ({
      filename: attachment.filename,
      contentType: attachment.content_type,
      contentBase64: attachment.content_base64,
      ...(attachment.content_id !== undefined && { contentId: attachment.content_id }),
    })),
  }
}

/** For showing: bodies as they are, attachments without their bytes. Empty when it was forgotten. */
export function showContent(content: MessageContent | undefined): Record<string, unknown> {
  if (content === undefined) return {}
  return {
    ...content,
    attachments: content.attachments.map(({ filename, contentType, contentBase64 }) => ({
      filename,
      content_type: contentType,
      bytes: Math.floor((contentBase64.length * 3) / 4),
    })),
  }
}
