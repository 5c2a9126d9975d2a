import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endProgram } from '../../processes.ts'
import type { ChildSide, Done, Order, Side, SideSettings } from './side.ts'

const path = fileURLToPath(new URL('side-process.ts', import.meta.url))

/** A side in a process of its own. */
export async function startChildSide(
  name: ChildSide,
  settings: SideSettings,
): Promise<Side & { close(): Promise<void> }> {
  const child = fork(path, [name, JSON.stringify(settings)], { serialization: 'advanced' })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  await answerOf(child, name)
  const obey = async (order: Order) => {
    const answer = answerOf(child, name)
    child.send(order)
    await answer
  }
  return {
    name,
    processId: child.pid ?? 0,
    fill: (count, tenants) => obey({ order: 'fill', count, tenants }),
    open: () => obey({ order: 'open' }),
    settle: () => obey({ order: 'settle' }),
    close: async () => {
      process.off('exit', kill)
      await endProgram(child)
    },
  }
}

function answerOf(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`${name} ended with ${code}.`))
    child.once('exit', ended)
    child.once('message', (done: Done) => {
      child.off('exit', ended)
      if ('error' in done) reject(new Error(`${name}: ${done.error}`))
      else resolve()
    })
  })
}
