/** Milliseconds of the machine's own clock: comparable between processes, and never set back. */
export function clockMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
