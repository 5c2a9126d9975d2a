import { waitForAnswer } from './callbacks.ts'
import type { Callback } from './callbacks.ts'
import type { Fault } from './faults.ts'
import { setState } from './world.ts'
import type { Message, World } from './world.ts'

/** One thing that happens to a message after it was taken. */
export type Step = {
  state: string
  /** Makes the callback that reports it; called twice for a duplicate, so ids are made with the step. */
  report: (occurredAt: Date, urgent: boolean) => Callback | null
  /** Something that happens beside the message's own state: opened, clicked, complained. */
  isEngagement?: boolean
}

type Progress = { reached: number }

const BEFORE_ANSWER_WAIT_MS = 5_000

/**
 * Lets a message live: each step happens after the configured delay and is reported as the fault
 * says. Resolves at once, except when the first report must arrive before the HTTP answer.
 */
export async function startLife(
  world: World,
  message: Message,
  fault: Fault | null,
  steps: Step[],
): Promise<void> {
  const delayMs = Math.max(1, world.settings.callback_delay_ms)
  const progress: Progress = { reached: -1 }
  const isEarly = fault?.name === 'before_answer'
  steps.forEach((step, index) => {
    if (isEarly && index === 0) return
    playStep(world, message, progress, { step, index, fault, count: steps.length, delayMs })
  })
  const [first] = steps
  if (!isEarly || !first) return
  const at = world.now()
  reach(message, progress, first, 0, at)
  const callback = first.report(at, true)
  if (callback) await waitForAnswer(world, callback, BEFORE_ANSWER_WAIT_MS)
}

type Play = { step: Step; index: number; fault: Fault | null; count: number; delayMs: number }

function playStep(world: World, message: Message, progress: Progress, play: Play): void {
  const { step, index, fault, count, delayMs } = play
  world.later((index + 1) * delayMs, () => {
    const occurredAt = world.now()
    reach(message, progress, step, index, occurredAt)
    const report = () => step.report(occurredAt, false)
    if (fault?.name === 'silent') return
    if (fault?.name === 'late') return world.later(world.settings.late_ms, report)
    if (fault?.name === 'reordered') return world.later(2 * (count - 1 - index) * delayMs + 1, report)
    report()
    if (fault?.name === 'duplicate') world.later(Math.ceil(delayMs / 2), report)
  })
}

function reach(message: Message, progress: Progress, step: Step, index: number, at: Date): void {
  if (step.isEngagement) message.history.push({ state: step.state, at: at.toISOString() })
  else if (index > progress.reached) setState(message, step.state, at)
  progress.reached = Math.max(progress.reached, index)
}
