import { z } from 'zod'
import type { JobDefinition } from '#core/module.ts'
import { deleteFactsBefore } from './queries.ts'

/** A webhook is replayed for 30 days after it came, and it may have been a provider's retry of one days before. */
const factsKeptMs = 45 * 24 * 60 * 60 * 1000
const nothing = z.strictObject({})

const forgetFacts: JobDefinition<z.infer<typeof nothing>> = {
  name: 'webhooks.forget_facts',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 300,
  schedule: '41 3 * * *',
  run: (context) =>
    deleteFactsBefore(context.database.system, new Date(context.now().getTime() - factsKeptMs)),
}

export const jobs = [forgetFacts]
