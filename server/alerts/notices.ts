import { z } from 'zod'
import { routeConnection } from '#connections'
import type { Context } from '#core/context.ts'
import type { TenantScope } from '#core/database.ts'
import { PipeError } from '#core/errors.ts'
import type { JobDefinition } from '#core/module.ts'
import { acceptMessage, SendRequest } from '#messaging'
import { findIncident, findTold, type IncidentRow, insertNotice } from './queries.ts'
import { getContacts } from './rules.ts'
import type { Contact } from './schema.ts'
import type { Phase } from './tables.ts'
import { writeNotice } from './texts.ts'

const Payload = z.strictObject({ incident_id: z.string(), phase: z.enum(['raised', 'resolved']) })

/** Writes to the contacts of a tenant, each once: the key makes a repeated attempt find the message there is. */
export const tellIncident: JobDefinition<z.infer<typeof Payload>> = {
  name: 'alerts.tell_incident',
  payload: Payload,
  attempts: 12,
  timeoutSeconds: 60,
  run: async (context, { incident_id: id, phase }, { scope }) => {
    if (scope === undefined) return
    const incident = await context.database.asTenant(scope, (db) => findIncident(db, scope.tenantId, id))
    if (incident === undefined) return
    const { contacts } = await getContacts(context, scope)
    const told = await context.database.asTenant(scope, (db) => findTold(db, scope.tenantId, id, phase))
    for (const contact of contacts) {
      if (told.has(`${contact.channel} ${contact.address}`)) continue
      const result = await write(context, scope, { incident, phase, contact })
      const { channel, address } = contact
      const row = {
        tenant_id: scope.tenantId,
        incident_id: id,
        phase,
        channel,
        address,
        told_at: context.now(),
      }
      await context.database.asTenant(scope, (db) => insertNotice(db, { ...row, ...result }))
    }
  },
}

interface Notice {
  incident: IncidentRow
  phase: Phase
  contact: Contact
}

type Result = { message_id: string | null; problem: string | null }

async function write(context: Context, scope: TenantScope, notice: Notice): Promise<Result> {
  const { incident, phase, contact } = notice
  if (phase === 'raised' && (await wouldUseFailing(context, scope, notice))) {
    return { message_id: null, problem: 'It would be sent by the very provider that fails.' }
  }
  const { title, text } = writeNotice(incident, phase, contact.language)
  const { channel, address, template } = contact
  const request = SendRequest.parse({
    tenant_id: scope.tenantId,
    to: address,
    body: channel === 'email' ? text : `${title}\n\n${text}`,
    ...(channel === 'email' && { subject: title }),
    ...(channel === 'whatsapp' &&
      template !== undefined && { template: { name: template, variables: { title, text } } }),
    reference: incident.id,
    tags: ['alert'],
  })
  try {
    const key = `alert:${incident.id}:${phase}:${channel}:${address}`
    const message = await acceptMessage(context, scope, channel, request, { idempotencyKey: key })
    return { message_id: message.id, problem: null }
  } catch (error) {
    // The event tells all the same; who looks finds why nobody was written to.
    if (error instanceof PipeError && error.status < 500) return { message_id: null, problem: error.message }
    throw error
  }
}

async function wouldUseFailing(
  context: Context,
  scope: TenantScope,
  { incident, contact }: Notice,
): Promise<boolean> {
  if (incident.kind !== 'provider_failing') return false
  try {
    const route = await context.database.asTenant(scope, (db) =>
      routeConnection(db, scope, contact.channel, { advice: '' }),
    )
    return route.id === incident.subject
  } catch (error) {
    if (error instanceof PipeError && error.code === 'connection_missing') return false
    throw error
  }
}
