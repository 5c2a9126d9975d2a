import { readFileSync } from 'node:fs'

/**
 * Loaded into PipeCore before anything else: its clock is ahead by the milliseconds in the file, and jumps when that
 * changes.
 */
const file = process.env['CHAOS_CLOCK_FILE'] ?? ''
const pollMs = 100
const readOffset = () => Number(readFileSync(file, 'utf8'))
let offsetMs = readOffset()
setInterval(() => {
  offsetMs = readOffset()
}, pollMs).unref()
const readRealTime = Date.now
const readTime = () => readRealTime() + offsetMs

globalThis.Date = new Proxy(Date, {
  construct: (target, values, made) =>
    Reflect.construct(target, values.length === 0 ? [readTime()] : values, made) as Date,
  get: (target, name, receiver) =>
    name === 'now' ? readTime : (Reflect.get(target, name, receiver) as unknown),
})
