import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PipeCore, Sandbox, Test } from '../harness.ts'

export interface Clock {
  /** What PipeCore has to be started with. */
  env: Record<string, string>
  /** Ends PipeCore in order and starts it again as late as this, the providers' clock moved likewise. */
  skip(pipecore: PipeCore, sandbox: Sandbox, ms: number): Promise<void>
}

/** A clock that moves only while PipeCore is off: no call that is under way ever sees it jump. */
export async function createClock(test: Test): Promise<Clock> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-chaos-'))
  test.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'clock')
  let offsetMs = 0
  await writeFile(file, String(offsetMs))
  return {
    env: {
      CHAOS_CLOCK_FILE: file,
      NODE_OPTIONS: `--import=${import.meta.resolve('./moved-clock.ts')}`,
    },
    skip: async (pipecore, sandbox, ms) => {
      await pipecore.kill('SIGTERM')
      offsetMs += ms
      await writeFile(file, String(offsetMs))
      await sandbox.control('POST', '/clock', { advance_ms: ms })
      await pipecore.restart()
    },
  }
}
