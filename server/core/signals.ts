/**
 * Stops once, in order, on the first of the signals that end a program, and exits with 0. A terminal's Ctrl-C
 * reaches a program twice when npm started it, so further signals change nothing.
 */
export function stopOnSignals(stop: () => Promise<void>): void {
  let stopping: Promise<void> | undefined
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      stopping ??= stop().then(
        () => process.exit(0),
        () => process.exit(1),
      )
    })
  }
}
