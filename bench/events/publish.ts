import { Pool } from 'undici'
import { clockMs } from '../clock.ts'
import type { SampleEvent } from './sample-events.ts'

export interface Accepted {
  id: string
  /** When the 2xx was there. */
  acceptedAt: number
}

/** Publishes one event; @throws unless it was accepted. */
export type Publish = (event: SampleEvent) => Promise<Accepted>

export const publishersAtOnce = 64

export function createPublish(origin: string, key: string): { publish: Publish; close(): Promise<void> } {
  const pool = new Pool(origin, { connections: publishersAtOnce, pipelining: 1 })
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  return {
    async publish(event) {
      const request = { path: '/events', method: 'POST' as const, headers, body: JSON.stringify(event) }
      const answer = await pool.request(request)
      const acceptedAt = clockMs()
      const told = (await answer.body.json()) as { id?: string }
      if (answer.statusCode !== 202 || told.id === undefined) {
        throw new Error(`/events → ${answer.statusCode} ${JSON.stringify(told)}`)
      }
      return { id: told.id, acceptedAt }
    },
    close: () => pool.close(),
  }
}
