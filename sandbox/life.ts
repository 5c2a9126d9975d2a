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
  const isEarly = fault?.name === 'before_answer'
  const [first] = steps
  const moments = planMoments(world, message, fault, steps)
  playInOrder(world, isEarly ? moments.slice(1) : moments)
  if (!isEarly || !first) return
  const at = world.now()
  reach(message, first, at)
  const callback = first.report(at, true)
  if (callback) await waitForAnswer(world, callback, BEFORE_ANSWER_WAIT_MS)
}

type Moment = { afterMs: number; run: () => void }

/** What happens when, counted from the send; reports of a fault may come long after what they tell. */
function planMoments(world: World, message: Message, fault: Fault | null, steps: Step[]): Moment[] {
  const delayMs = Math.max(1, world.settings.callback_delay_ms)
  return steps.flatMap((step, index) => {
    const afterMs = (index + 1) * delayMs
    let occurredAt = world.now()
    const occur = () => {
      occurredAt = world.now()
      reach(message, step, occurredAt)
    }
    const report = () => void step.report(occurredAt, false)
    switch (fault?.name) {
      case 'silent':
        return [{ afterMs, run: occur }]
      case 'late':
        return [
          { afterMs, run: occur },
          { afterMs: afterMs + world.settings.late_ms, run: report },
        ]
      case 'reordered':
        return [
          { afterMs, run: occur },
          { afterMs: (2 * steps.length - index) * delayMs, run: report },
        ]
      case 'duplicate':
        return [
          { afterMs, run: () => (occur(), report()) },
          { afterMs: afterMs + delayMs / 2, run: report },
        ]
      default:
        return [{ afterMs, run: () => (occur(), report()) }]
    }
  })
}

/** One timer after the other, so that a busy process keeps their order. */
function playInOrder(world: World, moments: Moment[]): void {
  const queue = moments.toSorted((a, b) => a.afterMs - b.afterMs)
  const playNext = (playedMs: number) => {
    const next = queue.shift()
    if (!next) return
    world.later(next.afterMs - playedMs, () => {
      next.run()
      playNext(next.afterMs)
    })
  }
  playNext(0)
}

function reach(message: Message, step: Step, at: Date): void {
  if (step.isEngagement) message.history.push({ state: step.state, at: at.toISOString() })
  else setState(message, step.state, at)
}
