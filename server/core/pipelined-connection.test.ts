import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPipelinedConnection } from './pipelined-connection.ts'

/** Lends the numbers from 1 on. */
function createLender() {
  const lent: number[] = []
  const givenBack: number[] = []
  const lend = async () => {
    const connection = lent.length + 1
    lent.push(connection)
    return { connection, giveBack: () => void givenBack.push(connection) }
  }
  return { lent, givenBack, lend }
}

/** A use that the test ends by hand, once it has begun. */
function createUse() {
  const begun = Promise.withResolvers<number>()
  const end = Promise.withResolvers<string>()
  const use = (connection: number) => {
    begun.resolve(connection)
    return end.promise
  }
  return { use, begun: begun.promise, end }
}

describe('a pipelined connection', () => {
  test('is one for all that use it at the same time, and given back after the last', async () => {
    const { lend, lent, givenBack } = createLender()
    const share = createPipelinedConnection(lend)
    const [first, second] = [createUse(), createUse()]
    const results = [share(first.use), share(second.use)]
    assert.deepEqual([await first.begun, await second.begun], [1, 1])
    first.end.resolve('first')
    assert.equal(await results[0], 'first')
    assert.deepEqual(givenBack, [])
    second.end.resolve('second')
    assert.equal(await results[1], 'second')
    assert.deepEqual({ lent, givenBack }, { lent: [1], givenBack: [1] })
    assert.equal(await share(async (connection) => connection), 2)
    assert.deepEqual(givenBack, [1, 2])
  })

  test('is another one after a failure; who uses the first still ends there', async () => {
    const { lend, givenBack } = createLender()
    const share = createPipelinedConnection(lend)
    const slow = createUse()
    const slowly = share(slow.use)
    await assert.rejects(
      share(() => Promise.reject(new Error('refused'))),
      /refused/,
    )
    assert.equal(await share(async (connection) => connection), 2)
    assert.deepEqual(givenBack, [2])
    slow.end.resolve('done')
    assert.equal(await slowly, 'done')
    assert.deepEqual(givenBack, [2, 1])
  })

  test('is another one after a minute, although some use always follows the one before', async () => {
    let now = 0
    const { lend, givenBack } = createLender()
    const share = createPipelinedConnection(lend, () => now)
    const [old, young] = [createUse(), createUse()]
    const results = [share(old.use)]
    assert.equal(await old.begun, 1)
    now = 60_000
    assert.equal(await share(async (connection) => connection), 1)
    now = 60_001
    results.push(share(young.use))
    assert.equal(await young.begun, 2)
    old.end.resolve('old')
    await results[0]
    assert.deepEqual(givenBack, [1])
    assert.equal(await share(async (connection) => connection), 2)
    young.end.resolve('young')
    assert.deepEqual(await Promise.all(results), ['old', 'young'])
  })

  test('that can not be lent is tried anew by who comes next', async () => {
    const { lend, givenBack } = createLender()
    let isAway = true
    const share = createPipelinedConnection(() => (isAway ? Promise.reject(new Error('away')) : lend()))
    const use = async (connection: number) => connection
    const results = await Promise.allSettled([share(use), share(use)])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    isAway = false
    assert.equal(await share(use), 1)
    assert.deepEqual(givenBack, [1])
  })
})
