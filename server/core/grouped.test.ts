import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createGroup } from './grouped.ts'

/** A flush that the test ends by hand. */
function createGate() {
  const flushes: { inputs: readonly number[]; end(error?: Error): void }[] = []
  const flush = (inputs: readonly number[]) =>
    new Promise<number[]>((resolve, reject) => {
      const end = (error?: Error) => (error ? reject(error) : resolve(inputs.map((input) => input * 10)))
      flushes.push({ inputs, end })
    })
  return { flushes, flush }
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a group', () => {
  test('starts a call that comes alone at once', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10 })
    const result = call(1)
    await Promise.resolve()
    assert.deepEqual(
      flushes.map((entry) => entry.inputs),
      [[1]],
    )
    flushes[0]?.end()
    assert.equal(await result, 10)
  })

  test('makes one flush of all that arrives while another runs, and gives each its own result', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10 })
    const first = call(1)
    await tick()
    const later = [call(2), call(3), call(4)]
    await tick()
    assert.equal(flushes.length, 1)
    flushes[0]?.end()
    await first
    await tick()
    assert.deepEqual(flushes[1]?.inputs, [2, 3, 4])
    flushes[1]?.end()
    assert.deepEqual(await Promise.all(later), [20, 30, 40])
  })

  test('never flushes more than its size', async () => {
    const sizes: number[] = []
    const call = createGroup<number, number>({
      maxSize: 3,
      flush: async (inputs) => {
        sizes.push(inputs.length)
        return inputs
      },
    })
    const results = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(call))
    assert.deepEqual(sizes, [3, 3, 1])
    assert.deepEqual(results, [1, 2, 3, 4, 5, 6, 7])
  })

  test('runs as many flushes at a time as allowed', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10, inFlight: 2 })
    const results = [call(1)]
    await tick()
    results.push(call(2))
    await tick()
    results.push(call(3))
    await tick()
    assert.deepEqual(
      flushes.map((entry) => entry.inputs),
      [[1], [2]],
    )
    for (const entry of flushes) entry.end()
    await tick()
    flushes[2]?.end()
    assert.deepEqual(await Promise.all(results), [10, 20, 30])
  })

  test('lets one bad input fail alone', async () => {
    const call = createGroup<number, number>({
      maxSize: 10,
      flush: async (inputs) => {
        if (inputs.includes(2)) throw new Error('2 is bad')
        return inputs
      },
    })
    const results = await Promise.allSettled([1, 2, 3].map(call))
    assert.deepEqual(
      results.map((result) => (result.status === 'fulfilled' ? result.value : result.status)),
      [1, 'rejected', 3],
    )
  })

  test('goes on after a flush that failed', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10 })
    const failing = call(1)
    await tick()
    const next = call(2)
    flushes[0]?.end(new Error('database is away'))
    await assert.rejects(failing, /away/)
    await tick()
    flushes[1]?.end()
    assert.equal(await next, 20)
  })

  test('rejects all when a flush answers with too few results', async () => {
    const call = createGroup<number, number>({ maxSize: 10, flush: async () => [] })
    const results = await Promise.allSettled([call(1), call(2)])
    assert.deepEqual(
      results.map((result) => result.status),
      ['rejected', 'rejected'],
    )
  })
})
