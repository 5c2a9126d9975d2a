/** Markup that was escaped where it had to be. */
export type Html = { readonly markup: string }

type Value = string | number | null | Html | readonly Html[]

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Template tag that escapes every value which is not markup already. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Html {
  const markup = strings
    .map((text, index) => text + (index < values.length ? render(values[index]!) : ''))
    .join('')
  return { markup }
}

function render(value: Value): string {
  if (value === null) return ''
  if (typeof value === 'string' || typeof value === 'number') return escape(String(value))
  return 'markup' in value ? value.markup : value.map(({ markup }) => markup).join('')
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => entities[char]!)
}

/** Markup written in this code base, never made from what came in. */
export function trusted(markup: string): Html {
  return { markup }
}
