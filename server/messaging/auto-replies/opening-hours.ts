import { z } from 'zod'

const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be a time such as 09:30')
const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const

export const OpeningHours = z.strictObject({
  timezone: z.string().refine(isTimeZone, 'must be a time zone such as America/Santiago'),
  days: z
    .array(z.enum(days))
    .min(1)
    .default([...days]),
  from: clock,
  to: clock.meta({ description: 'Before `from`: into the next day.' }),
})
export type OpeningHours = z.infer<typeof OpeningHours>

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/** Whether a moment lies in the hours, by the wall clock of their time zone. */
export function isWithin(hours: OpeningHours, moment: Date): boolean {
  const { day, time } = wallClock(hours.timezone, moment)
  if (hours.from <= hours.to) return hours.days.includes(day) && time >= hours.from && time < hours.to
  const dayBefore = days[(days.indexOf(day) + 6) % 7] ?? day
  return (
    (hours.days.includes(day) && time >= hours.from) || (hours.days.includes(dayBefore) && time < hours.to)
  )
}

function wallClock(timeZone: string, moment: Date): { day: (typeof days)[number]; time: string } {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const parts = Object.fromEntries(format.formatToParts(moment).map((part) => [part.type, part.value]))
  const day = days.find((name) => name === parts.weekday?.toLowerCase()) ?? 'mon'
  return { day, time: `${parts.hour}:${parts.minute}` }
}
