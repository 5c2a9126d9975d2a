import { z } from 'zod'
import type { JobDefinition } from '#core/module.ts'
import { deleteFactsBefore } from './queries.ts'

/** Longer than any provider retries a webhook. */
const factsKeptMs = 35 * 24 * 60 * 60 * 1000
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
