import { z } from 'zod'
import { forgetAnswers } from '#core/idempotency.ts'
import type { JobDefinition } from '#core/module.ts'

const nothing = z.strictObject({})
const answersKeptMs = 24 * 60 * 60 * 1000

const forgetIdempotencyKeys: JobDefinition<z.infer<typeof nothing>> = {
  name: 'tenants.forget_idempotency_keys',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 300,
  schedule: '23 * * * *',
  run: (context) => forgetAnswers(context.database.system, new Date(context.now().getTime() - answersKeptMs)),
}

export const jobs = [forgetIdempotencyKeys]
