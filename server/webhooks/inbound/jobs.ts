import { z } from 'zod'
import type { JobDefinition } from '#core/module.ts'
import { deleteExpiredFacts } from './queries.ts'

/**
 * So much longer than the request: a webhook may be replayed as long as that is there, and it may have been a
 * provider's retry of one days before.
 */
const factsKeptDays = { atLeast: 45, longer: 15 }
const nothing = z.strictObject({})

const forgetFacts: JobDefinition<z.infer<typeof nothing>> = {
  name: 'webhooks.forget_facts',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 300,
  schedule: '41 3 * * *',
  run: (context) => deleteExpiredFacts(context.database.system, factsKeptDays, context.now()),
}

export const jobs = [forgetFacts]
