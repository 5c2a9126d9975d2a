import { z } from 'zod'
import { forgetAnswers } from '#core/idempotency.ts'
import type { JobDefinition } from '#core/module.ts'

const nothing = z.strictObject({})

const forgetIdempotencyKeys: JobDefinition<z.infer<typeof nothing>> = {
  name: 'tenants.forget_idempotency_keys',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 300,
  schedule: '23 * * * *',
  run: (context) => forgetAnswers(context.database.system),
}

export const jobs = [forgetIdempotencyKeys]
