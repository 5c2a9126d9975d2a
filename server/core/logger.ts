import pino, { type Logger } from 'pino'
import { scrubText } from './scrub.ts'

/** JSON lines on standard output. Whatever looks like a credential is hidden, whoever logged it. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: undefined,
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: { streamWrite: (line) => scrubText(line, []) },
  })
}
