import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lookAgain, mapDone, refuse, refuseUnlessDone, thenDone } from './provider-call.ts'

const done = { outcome: 'done' as const, id: '1' }
const refused = refuse('auth', 'no')
const unknown = lookAgain('wait', 2_000)

test('what is done is read into our words, what is not stays as it is', () => {
  assert.deepEqual(
    mapDone(done, ({ id }) => ({ name: id })),
    { outcome: 'done', name: '1' },
  )
  for (const outcome of [refused, unknown])
    assert.equal(
      mapDone(outcome, () => ({})),
      outcome,
    )
})

test('a next step is made only of what is done', async () => {
  const next = async ({ id }: { id: string }) => ({ outcome: 'done' as const, id: `${id}2` })
  assert.deepEqual(await thenDone(Promise.resolve(done), next), { outcome: 'done', id: '12' })
  assert.equal(await thenDone(refused, next), refused)
})

test('what only prepares another call had no effect, and is made again where that may help', () => {
  assert.equal(refuseUnlessDone(done), done)
  assert.deepEqual(refuseUnlessDone(refused), refused)
  const { outcome, error } = refuseUnlessDone(unknown) as typeof refused
  assert.deepEqual([outcome, error.retry], ['refused', 'backoff'])
})
