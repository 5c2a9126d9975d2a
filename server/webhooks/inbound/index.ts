import type { Module } from '#core/module.ts'
import { jobs } from './jobs.ts'
import { routes } from './routes.ts'

export {
  isFromOneOf,
  type LoadedWebhook,
  recallWebhook,
  type RecordedWebhook,
  type Receiver,
  receiveWebhook,
  type StoredWebhook,
} from './inbound.ts'
export { type FactRow, factRecording, findFacts, type NewFact, recordFact } from './queries.ts'
export type { FollowedEvent, ForeseenEvent, ForeseenReport, WebhookReader } from './reader.ts'
export { findWebhooksSince } from './watched.ts'
export { keepRawBodies, readRawWebhook } from './raw-request.ts'

export const inboundWebhooks: Module = {
  name: 'webhooks/inbound',
  needs: ['tenants', 'jobs', 'connections'],
  migrations: new URL('./migrations/', import.meta.url),
  routes,
  jobs,
}
