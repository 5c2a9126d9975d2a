const deadlineMs = 30_000
const impatientMs = 2_000

/**
 * Stops in order on the first of the signals that end a program, and exits with 0. npm hands a terminal's Ctrl-C
 * on to a program that already had it, so a second signal at once changes nothing; a later one, or a stop that
 * does not end, exits with 1.
 */
export function stopOnSignals(stop: () => Promise<void>): void {
  let stoppingSince: number | undefined
  const onSignal = () => {
    if (stoppingSince !== undefined) {
      if (performance.now() - stoppingSince > impatientMs) process.exit(1)
      return
    }
    stoppingSince = performance.now()
    setTimeout(() => process.exit(1), deadlineMs).unref()
    stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
}
