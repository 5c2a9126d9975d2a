import type { Module } from '#core/module.ts'
import { auditJobs } from './audit/jobs.ts'
import { createDispatcher } from './dispatch.ts'
import { gauges } from './metrics/gauges.ts'
import { ownEvents, typesOf } from './own-events.ts'
import { replayEndpoint } from './replays/replay-job.ts'
import { routes } from './routes.ts'

export { type Anchor, type Verdict } from './audit/verification-run.ts'
export { verifyAudit } from './audit/verification.ts'
export { readEventsOf, readFollowing, readOwnEvents } from './event-log.ts'
export { eventRecording, type NewEvent, recordEvents, type Telling } from './events.ts'
export { countRecorded } from './metrics/recorded.ts'
export { eventEnvelope } from './own-events.ts'
export { Delivery, EventSummary } from './schema.ts'
export { findEventsSince, listFailingEndpoints } from './watched.ts'

export const outboundWebhooks: Module = {
  name: 'webhooks/outbound',
  needs: ['tenants', 'jobs'],
  migrations: new URL('./migrations/', import.meta.url),
  events: ownEvents,
  jobs: [replayEndpoint, ...auditJobs],
  routes,
  gauges,
  workers: (context, modules) => [createDispatcher(context, typesOf(modules))],
}
