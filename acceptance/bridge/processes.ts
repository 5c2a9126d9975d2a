import { type PipeCore, type PipeCoreOptions, startPipeCore, type Test } from '../harness.ts'

export interface Processes {
  api: PipeCore
  workers: PipeCore[]
}

export const env = {
  PIPECORE_LOG_LEVEL: 'info',
  // A busy machine must not make a receiver that answers look like one that hangs.
  PIPECORE_ENDPOINT_TIMEOUT_MS: '10000',
}

/** One process that answers and several that work, on one database. */
export async function startProcesses(
  test: Test,
  workers: number,
  options: Pick<PipeCoreOptions, 'databaseUrl' | 'databaseHost'> = {},
): Promise<Processes> {
  const api = await startPipeCore(test, { ...options, env, role: 'api' })
  const starts = Array.from({ length: workers }, () =>
    startPipeCore(test, { ...options, env, role: 'worker', beside: api }),
  )
  return { api, workers: await Promise.all(starts) }
}
