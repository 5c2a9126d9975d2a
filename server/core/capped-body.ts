const empty = Buffer.alloc(0)

/** Copies chunks into one growing buffer: a million one-byte chunks must not become a million objects. */
export function createCappedBody(maxBytes: number) {
  let buffer = empty
  let size = 0
  return {
    /** False when the chunk did not fit whole; what fits is kept. */
    append(chunk: Buffer): boolean {
      const wanted = Math.min(size + chunk.length, maxBytes)
      if (wanted > buffer.length) {
        const larger = Buffer.allocUnsafe(Math.min(Math.max(wanted, buffer.length * 2, 1024), maxBytes))
        buffer.copy(larger, 0, 0, size)
        buffer = larger
      }
      chunk.copy(buffer, size, 0, wanted - size)
      const fits = size + chunk.length <= maxBytes
      size = wanted
      return fits
    },
    read: () => (size === 0 ? empty : buffer.subarray(0, size)),
  }
}
