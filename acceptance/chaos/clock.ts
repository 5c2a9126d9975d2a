import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PipeCore, Sandbox, Test } from '../harness.ts'

export interface Clock {
  /** What PipeCore has to be started with. */
  env: Record<string, string>
  /** Ends PipeCore in order and starts it again as late as this, the providers' clock moved likewise. */
  skip(pipecore: PipeCore, sandbox: Sandbox, ms: number): Promise<void>
  /** Moves it under a running PipeCore, which sees it a moment later. */
  setOffset(ms: number): Promise<void>
}

/** A clock of one process. Skipping it, no call that is under way ever sees it jump. */
export async function createClock(test: Test): Promise<Clock> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-chaos-'))
  test.after(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'clock')
  let offsetMs = 0
  const setOffset = async (ms: number) => {
    offsetMs = ms
    // Whole or not at all: it is read at any moment.
    await writeFile(`${file}.new`, String(ms))
    await rename(`${file}.new`, file)
  }
  await setOffset(0)
  return {
    env: {
      CHAOS_CLOCK_FILE: file,
      NODE_OPTIONS: `--import=${import.meta.resolve('./moved-clock.ts')}`,
    },
    skip: async (pipecore, sandbox, ms) => {
      await pipecore.kill('SIGTERM')
      await setOffset(offsetMs + ms)
      await sandbox.control('POST', '/clock', { advance_ms: ms })
      await pipecore.restart()
    },
    setOffset,
  }
}
