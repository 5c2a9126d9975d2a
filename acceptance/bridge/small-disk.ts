import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from '../harness.ts'

export interface Disk {
  folder: string
  /** Takes all the space that is left. Undefined where no disk could be made. */
  fill: (() => Promise<void>) | undefined
  free(): Promise<void>
}

const size = '1g'
const run = promisify(execFile)

/** A disk that can be filled without harm to anybody else; a folder like others where mounting is not allowed. */
export async function makeDisk(test: Test): Promise<Disk> {
  const folder = await mkdtemp(join(tmpdir(), 'pipecore-disk-'))
  const isMounted = await run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'tmpfs', folder]).then(
    () => true,
    () => false,
  )
  const balloons = join(folder, 'balloons')
  // However the run ends.
  const unmount = () => execFileSync('umount', ['-l', folder], { stdio: 'ignore' })
  if (isMounted) process.once('exit', unmount)
  test.after(async () => {
    if (isMounted) {
      process.off('exit', unmount)
      unmount()
    }
    await rm(folder, { recursive: true, force: true })
  })
  return {
    folder,
    fill: isMounted ? () => fillUp(folder, balloons) : undefined,
    free: () => rm(balloons, { recursive: true, force: true }),
  }
}

async function fillUp(folder: string, balloons: string): Promise<void> {
  await mkdir(balloons, { recursive: true })
  const { bavail, bsize } = await statfs(folder)
  // It fails where somebody else was faster: then there is no room anyway.
  const balloon = join(balloons, String(performance.now()))
  await run('fallocate', ['-l', String(bavail * bsize), balloon]).catch(() => undefined)
}
