import { z } from 'zod'
import type { JobDefinition } from '#core/module.ts'
import { deleteConnectionsGoneSince } from './queries.ts'

const keptAfterDeletionMs = 3 * 24 * 60 * 60 * 1000
const nothing = z.strictObject({})

const forgetDeleted: JobDefinition<z.infer<typeof nothing>> = {
  name: 'connections.forget_deleted',
  payload: nothing,
  attempts: 5,
  timeoutSeconds: 60,
  schedule: '17 * * * *',
  run: (context) =>
    deleteConnectionsGoneSince(
      context.database.system,
      new Date(context.now().getTime() - keptAfterDeletionMs),
    ),
}

export const jobs = [forgetDeleted]
