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

  test('with a gap takes together what comes within it', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10, gapMs: 50 })
    const first = call(1)
    await tick()
    flushes[0]?.end()
    await first
    const second = call(2)
    await tick()
    const third = call(3)
    while (flushes.length < 2) await tick()
    assert.deepEqual(
      flushes.map((entry) => entry.inputs),
      [[1], [2, 3]],
    )
    flushes[1]?.end()
    assert.deepEqual(await Promise.all([second, third]), [20, 30])
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

  test('flushes beside another only what is worth it, and what is left after it', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10, inFlight: 2, leastBeside: 3 })
    const results = [call(1)]
    await tick()
    results.push(call(2), call(3))
    await tick()
    assert.equal(flushes.length, 1)
    results.push(call(4))
    await tick()
    assert.deepEqual(flushes[1]?.inputs, [2, 3, 4])
    results.push(...[5, 6, 7, 8].map(call))
    await tick()
    assert.equal(flushes.length, 2)
    flushes[1]?.end()
    await tick()
    assert.deepEqual(flushes[2]?.inputs, [5, 6, 7, 8])
    results.push(call(9))
    flushes[2]?.end()
    await tick()
    assert.equal(flushes.length, 3)
    flushes[0]?.end()
    await tick()
    assert.deepEqual(flushes[3]?.inputs, [9])
    flushes[3]?.end()
    assert.deepEqual(await Promise.all(results), [10, 20, 30, 40, 50, 60, 70, 80, 90])
  })

  test('that gathers lets calls that keep coming share a flush, and one alone start at once', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 4, gathers: 4 })
    const results = [call(1)]
    await Promise.resolve()
    assert.deepEqual(flushes[0]?.inputs, [1])
    results.push(call(2), call(3))
    flushes[0]?.end()
    await results[0]
    await Promise.resolve()
    assert.deepEqual(flushes[1]?.inputs, [2, 3])
    flushes[1]?.end()
    await results[2]
    for (const input of [4, 5, 6]) {
      results.push(call(input))
      await tick()
      assert.equal(flushes.length, 2)
    }
    while (flushes.length < 3) await tick()
    assert.deepEqual(flushes[2]?.inputs, [4, 5, 6])
    results.push(...[7, 8, 9, 10, 11].map(call))
    flushes[2]?.end()
    while (flushes.length < 4) await tick()
    assert.deepEqual(flushes[3]?.inputs, [7, 8, 9, 10])
    flushes[3]?.end()
    while (flushes.length < 5) await tick()
    flushes[4]?.end()
    assert.deepEqual(await Promise.all(results), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110])
  })

  test('that gathers waits for callers that need a moment to come again', async () => {
    const { flush, flushes } = createGate()
    const call = createGroup({ flush, maxSize: 10, gathers: 10, quietTurns: 3 })
    const first = [1, 2].map(call)
    await Promise.resolve()
    flushes[0]?.end()
    await Promise.all(first)
    const again = [call(3)]
    for (const input of [4, 5]) {
      await tick()
      await tick()
      again.push(call(input))
    }
    while (flushes.length < 2) await tick()
    assert.deepEqual(flushes[1]?.inputs, [3, 4, 5])
    flushes[1]?.end()
    assert.deepEqual(await Promise.all(again), [30, 40, 50])
  })

  test('that gathers flushes nothing where another flush took all', async () => {
    const sizes: number[] = []
    const flush = async (inputs: readonly number[]) => {
      sizes.push(inputs.length)
      return inputs
    }
    const call = createGroup({ flush, maxSize: 10, inFlight: 2, gathers: 3 })
    for (const pair of [
      [1, 2],
      [3, 4],
    ])
      assert.deepEqual(await Promise.all(pair.map(call)), pair)
    await tick()
    assert.deepEqual(sizes, [2, 2])
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
