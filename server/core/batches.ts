/** So many rows go in one statement, which the server would end if it took long. */
export const batchSize = 5_000

/**
 * Repeats what takes away up to `batchSize` rows until there are fewer.
 * @returns how many went
 */
export async function deleteInBatches(deleteSome: () => Promise<number>): Promise<number> {
  for (let gone = 0; ;) {
    const count = await deleteSome()
    gone += count
    if (count < batchSize) return gone
  }
}
