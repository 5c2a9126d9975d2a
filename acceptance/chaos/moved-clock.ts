import { readFileSync } from 'node:fs'

/**
 * Loaded into PipeCore before anything else: its clock is ahead by the milliseconds in the file, as if it had been
 * switched off for so long.
 */
const offsetMs = Number(readFileSync(process.env['CHAOS_CLOCK_FILE'] ?? '', 'utf8'))
const readRealTime = Date.now
const readTime = () => readRealTime() + offsetMs

globalThis.Date = new Proxy(Date, {
  construct: (target, values, made) =>
    Reflect.construct(target, values.length === 0 ? [readTime()] : values, made) as Date,
  get: (target, name, receiver) =>
    name === 'now' ? readTime : (Reflect.get(target, name, receiver) as unknown),
})
