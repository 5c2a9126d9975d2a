import { lookAgain, type NotDone } from '#connections'

/** A search that shows only some time later what was made; `message` is what a person reads meanwhile. */
export interface LaggingSearch {
  lagMs: number
  message: string
}

/** Why nobody knows yet although a search shows nothing; undefined once it had the time to show what was made. */
export function doubtSearch({ lagMs, message }: LaggingSearch, madeAt: Date, now: Date): NotDone | undefined {
  const restMs = madeAt.getTime() + lagMs - now.getTime()
  return restMs > 0 ? lookAgain(message, restMs) : undefined
}
