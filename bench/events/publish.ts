import { Pool } from 'undici'
import { clockMs } from '../clock.ts'
import type { SampleEvent } from './sample-events.ts'

export interface Accepted {
  id: string
  sentAt: number
  /** When the 2xx was there. */
  acceptedAt: number
}

/** Publishes one event; @throws unless it was accepted. */
export type Publish = (event: SampleEvent) => Promise<Accepted>

export const publishersAtOnce = 64

export interface Publisher {
  publish: Publish
  close: () => Promise<void>
}

export function createPublisher(origin: string, key: string): Publisher {
  const pool = new Pool(origin, { connections: publishersAtOnce, pipelining: 1 })
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  return {
    publish: async (event) => {
      const request = { path: '/events', method: 'POST' as const, headers, body: JSON.stringify(event) }
      const sentAt = clockMs()
      const answer = await pool.request(request)
      const acceptedAt = clockMs()
      const told = (await answer.body.json()) as { id?: string }
      if (answer.statusCode !== 202 || told.id === undefined) {
        throw new Error(`/events → ${answer.statusCode} ${JSON.stringify(told)}`)
      }
      return { id: told.id, sentAt, acceptedAt }
    },
    close: () => pool.close(),
  }
}
