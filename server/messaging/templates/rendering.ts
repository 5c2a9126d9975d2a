import { invalidRequest, type PipeError } from '#core/errors.ts'

export interface TemplateBodies {
  subject?: string | undefined
  text?: string | undefined
  html?: string | undefined
}

const placeholder = /\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}/g

/** Variables in the order they first stand in subject, text and html. */
export function listPlaceholders(bodies: TemplateBodies): string[] {
  const texts = [bodies.subject, bodies.text, bodies.html]
  const names = texts.flatMap((text) =>
    [...(text ?? '').matchAll(placeholder)].map((match) => match[1] ?? ''),
  )
  return [...new Set(names)]
}

const longestRendered = 2_000_000

/**
 * Fills `{{name}}` placeholders; values are escaped in html. Every placeholder must have a value.
 * @throws PipeError `request_invalid` when a text would grow beyond 2 million characters
 */
export function renderBodies(
  bodies: TemplateBodies,
  variables: Readonly<Record<string, string>>,
): TemplateBodies {
  const fill = (text: string, show: (value: string) => string) => {
    let length = text.length
    return text.replaceAll(placeholder, (_whole, name: string) => {
      const value = show(variables[name] ?? '')
      length += value.length
      if (length > longestRendered) throw tooLong()
      return value
    })
  }
  return {
    ...(bodies.subject !== undefined && { subject: fill(bodies.subject, toOneLine) }),
    ...(bodies.text !== undefined && { text: fill(bodies.text, (value) => value) }),
    ...(bodies.html !== undefined && { html: fill(bodies.html, escapeHtml) }),
  }
}

function tooLong(): PipeError {
  return invalidRequest(`With these variables the text has more than ${longestRendered} characters.`, [
    { field: 'template.variables', message: 'make the text too long' },
  ])
}

function toOneLine(value: string): string {
  return value.replaceAll(/[\r\n]+/g, ' ')
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(value: string): string {
  return value.replaceAll(/[&<>"']/g, (letter) => entities[letter] ?? letter)
}
