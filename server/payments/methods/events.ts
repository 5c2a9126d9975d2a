import { z } from 'zod'
import type { EventType } from '#core/module.ts'
import { eventEnvelope, type NewEvent } from '#webhooks/outbound'
import { presentMethod } from '../presentation.ts'
import type { Customer } from '../providers/provider.ts'
import { FailureView, MethodSummary } from '../schema.ts'
import { presentFailure, readJson } from '../presentation.ts'
import type { Failure } from '../providers/provider.ts'
import type { MethodRow } from './saved-methods.ts'

function typeOf(name: string, description: string): EventType {
  const fields = {
    method_id: z.string().meta({ description: 'pmt_…' }),
    provider: z.string(),
    status: z.string(),
    customer_reference: z.string().nullable(),
    method: MethodSummary.nullable(),
    failure: FailureView.nullable(),
  }
  return {
    name: `payment_method.${name}`,
    version: 1,
    description,
    schema: z.object({ ...eventEnvelope, ...fields }),
  }
}

export const methodEventTypes: readonly EventType[] = [
  typeOf('saved', 'A method can be charged from now on.'),
  typeOf('failed', 'The customer’s method could not be saved; failure says why.'),
  typeOf('canceled', 'The customer gave up while saving a method.'),
  typeOf('removed', 'A method was removed and can not be charged any more.'),
]

export function eventAboutMethod(row: MethodRow, name: string, occurredAt: Date): NewEvent {
  const failure = readJson<Failure>(row.failure)
  return {
    type: `payment_method.${name}`,
    entity: row.id,
    occurredAt,
    data: {
      method_id: row.id,
      provider: row.provider,
      status: row.status,
      customer_reference: (JSON.parse(row.customer) as Customer).reference ?? null,
      method: presentMethod(row.summary),
      failure: failure === null ? null : presentFailure(failure),
    },
  }
}
