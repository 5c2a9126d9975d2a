import { isUtf8 } from 'node:buffer'
import { z } from 'zod'
import type { FactRow, InboundWebhookRow } from './queries.ts'
import type { ForeseenReport } from './reader.ts'
import type { Replayed, WebhookStory } from './replay.ts'

export const InboundWebhook = z.object({
  id: z.string(),
  tenant_id: z.string(),
  capability: z.string(),
  provider: z.string(),
  state: z.enum(['stored', 'refused']),
  failed_check: z.string().nullable(),
  reason: z.string().nullable(),
  trace_id: z.string(),
  received_at: z.iso.datetime(),
  accepted_at: z.iso.datetime().nullable().meta({
    description: 'When one that was refused was verified again, passed and was applied.',
  }),
})
type InboundWebhook = z.infer<typeof InboundWebhook>

const Fact = z.object({
  fact: z.string().meta({ description: 'What a repetition of it is recognised by.' }),
  taken_at: z.iso.datetime(),
})

export const InboundWebhookDetail = InboundWebhook.extend({
  method: z.string(),
  target: z.string().nullable().meta({
    description: 'Like headers and body null when it is past the `raw_retention_days` of its tenant.',
  }),
  headers: z
    .record(z.string(), z.string())
    .nullable()
    .meta({ description: 'Without signatures and credentials.' }),
  body: z.string().nullable().meta({ description: 'Of a refused webhook the first 4 KiB.' }),
  body_encoding: z.enum(['utf-8', 'base64']).meta({ description: 'base64: the bytes are no UTF-8 text.' }),
  facts: z.array(Fact).meta({ description: 'What was taken from it.' }),
  events: z
    .array(
      z.object({
        id: z.string(),
        type: z.string(),
        entity: z.string(),
        trace_id: z.string(),
        occurred_at: z.iso.datetime(),
      }),
    )
    .meta({ description: 'The events that followed, oldest first.' }),
})
type InboundWebhookDetail = z.infer<typeof InboundWebhookDetail>

export const InboundReplay = z
  .strictObject({
    apply: z
      .boolean()
      .default(false)
      .meta({ description: 'false: only tell what would follow; nothing changes and nobody is called.' }),
  })
  .nullish()

const ForeseenEvent = z.object({
  type: z.string(),
  entity: z
    .string()
    .nullable()
    .meta({ description: 'What it is about; null when that is made with it, such as a new message.' }),
})
export const InboundReplayResult = z.object({
  webhook: InboundWebhook,
  facts: z.array(Fact).meta({ description: 'What was taken from this webhook before.' }),
  reports: z
    .array(
      z.object({
        fact: z.string(),
        says: z.string(),
        taken: Fact.extend({ webhook_id: z.string() })
          .nullable()
          .meta({ description: 'Null: it is new. Else when and from which webhook it was taken.' }),
        effect: z.string().meta({ description: 'What would follow if it were taken now.' }),
        events: z.array(ForeseenEvent),
      }),
    )
    .meta({ description: 'What the webhook says now, in its own order.' }),
  events: z.array(ForeseenEvent).meta({ description: 'All events that would follow.' }),
  job_id: z.string().nullable().meta({ description: 'The job that applies it; null for a dry run.' }),
})
type InboundReplayResult = z.infer<typeof InboundReplayResult>

export function presentWebhook(row: InboundWebhookRow): InboundWebhook {
  return {
    id: row.id,
    tenant_id: row.tenant_id,
    capability: row.capability,
    provider: row.provider,
    state: row.state,
    failed_check: row.failed_check,
    reason: row.reason,
    trace_id: row.trace_id,
    received_at: row.received_at.toISOString(),
    accepted_at: row.accepted_at?.toISOString() ?? null,
  }
}

export function presentStory({ row, facts, events }: WebhookStory): InboundWebhookDetail {
  const encoding = row.body === null || isUtf8(row.body) ? 'utf-8' : 'base64'
  return {
    ...presentWebhook(row),
    method: row.method,
    target: row.target,
    headers: row.headers === null ? null : (JSON.parse(row.headers) as Record<string, string>),
    body: row.body?.toString(encoding) ?? null,
    body_encoding: encoding,
    facts: facts.map(presentFact),
    events,
  }
}

export function presentReplay({ row, facts, reports, jobId }: Replayed): InboundReplayResult {
  return {
    webhook: presentWebhook(row),
    facts: facts.map(presentFact),
    reports: reports.map(presentReport),
    events: reports.flatMap((report) => report.events),
    job_id: jobId ?? null,
  }
}

function presentReport({ key, says, taken, effect, events }: ForeseenReport) {
  return {
    fact: key,
    says,
    taken: taken === undefined ? null : { ...presentFact(taken), webhook_id: taken.webhook_id },
    effect,
    events: [...events],
  }
}

function presentFact(row: FactRow): z.infer<typeof Fact> {
  return { fact: row.fact_key, taken_at: row.recorded_at.toISOString() }
}
