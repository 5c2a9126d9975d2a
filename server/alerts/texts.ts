import type { IncidentRow } from './queries.ts'
import type { Contact } from './schema.ts'
import type { Phase, RuleKind } from './tables.ts'

type Language = Contact['language']
type Details = Readonly<Record<string, string | number | null>>

const titles: Record<Language, Record<RuleKind, string>> = {
  es: {
    provider_failing: 'Un proveedor está fallando',
    endpoint_failing: 'Tu sistema no recibe eventos',
    backlog: 'Hay eventos esperando demasiado',
    silence: 'No llega lo que se esperaba',
  },
  en: {
    provider_failing: 'A provider is failing',
    endpoint_failing: 'Your system takes no events',
    backlog: 'Events have waited too long',
    silence: 'What was expected does not come',
  },
}

/** `{name}` stands for a detail of the incident, or its subject. */
const sentences: Record<Language, Record<RuleKind, string>> = {
  es: {
    provider_failing:
      '{failed} de {calls} llamadas a {provider} fallaron en los últimos {window_minutes} minutos. Lo último que dijo: {last_error}',
    endpoint_failing:
      '{url} no acepta eventos desde {failing_since}: {last_error} Lo que espera se entrega cuando vuelva.',
    backlog: 'El evento más antiguo para {subject} debía entregarse a las {oldest_due}.',
    silence: 'No llegó {subject} en los últimos {within_minutes} minutos.',
  },
  en: {
    provider_failing:
      '{failed} of {calls} calls to {provider} failed in the last {window_minutes} minutes. It last said: {last_error}',
    endpoint_failing:
      '{url} has taken no events since {failing_since}: {last_error} What waits is delivered once it is back.',
    backlog: 'The oldest event for {subject} was due at {oldest_due}.',
    silence: 'No {subject} came in the last {within_minutes} minutes.',
  },
}

const over: Record<Language, { title: string; text: string }> = {
  es: {
    title: 'Resuelto: {title}',
    text: 'Empezó a las {opened_at} y terminó a las {resolved_at}. No tienes que hacer nada.',
  },
  en: {
    title: 'Resolved: {title}',
    text: 'It began at {opened_at} and was over at {resolved_at}. There is nothing for you to do.',
  },
}

function fill(text: string, values: Details): string {
  return text.replaceAll(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? '–'))
}

/** The words for one contact; the same for the same incident, so that a repeated attempt says the same. */
export function writeNotice(
  incident: IncidentRow,
  phase: Phase,
  language: Language,
): { title: string; text: string } {
  const { kind, subject, opened_at: openedAt, resolved_at: resolvedAt } = incident
  const title = titles[language][kind]
  if (phase === 'raised') {
    const details = JSON.parse(incident.details) as Details
    return { title, text: fill(sentences[language][kind], { ...details, subject }) }
  }
  const values = {
    title,
    opened_at: openedAt.toISOString(),
    resolved_at: (resolvedAt ?? openedAt).toISOString(),
  }
  return { title: fill(over[language].title, values), text: fill(over[language].text, values) }
}
