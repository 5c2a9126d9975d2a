import { z } from 'zod'
import type { JobDefinition } from '#core/module.ts'
import { evaluateAlerts } from './evaluation.ts'
import { tellIncident } from './notices.ts'
import { deleteIncidentsBefore } from './queries.ts'

const keptDays = 90

const evaluation: JobDefinition = {
  name: 'alerts.evaluate',
  payload: z.strictObject({}),
  attempts: 2,
  timeoutSeconds: 60,
  schedule: '* * * * *',
  run: (context) => evaluateAlerts(context),
}

const expiry: JobDefinition = {
  name: 'alerts.delete_expired',
  payload: z.strictObject({}),
  attempts: 10,
  timeoutSeconds: 120,
  schedule: '50 3 * * *',
  run: ({ database, now }) =>
    deleteIncidentsBefore(database.system, new Date(now().getTime() - keptDays * 86_400_000)),
}

export const jobs: readonly JobDefinition[] = [evaluation, tellIncident as JobDefinition, expiry]
