import { clockMs } from '../clock.ts'
import { medianOf } from '../load.ts'
import type { Options } from '../options.ts'
import { atMost, type Report } from '../report.ts'
import { type Arena, withArena } from './arena.ts'
import { forEachAtOnce } from './pipecore.ts'
import { createPublisher, publishersAtOnce } from './publish.ts'
import { sampleEvents } from './sample-events.ts'

const tenants = 10
const healthy = 10_000
const hanging = 2_000
const goal = 2

/** What an endpoint that hangs costs the tenants whose endpoints are well. */
export function benchHanging({ rounds }: Options): Promise<Report> {
  return withArena({ tenants, roles: ['api', 'worker'] }, async (arena) => {
    const took: Record<'without' | 'with', number[]> = { without: [], with: [] }
    await measure(arena)
    for (let round = 1; round <= rounds; round += 1) {
      took.without.push(await measure(arena))
      took.with.push(await withHanging(arena, `hanging_${round}`))
    }
    const [without, beside] = [medianOf(took.without), medianOf(took.with)]
    const method = `${tenants} tenants have ${healthy / tenants} events each, for an endpoint that is well; from the beginning to the arrival of the last. Once alone, and once with ${hanging} events of another product's tenant queued before them, whose endpoint hangs for 30 s. One worker; ${rounds} rounds, alternated; medians.`
    const rows = [
      ['nobody hangs', without.toFixed(0), '1.00'],
      ['one endpoint hangs', beside.toFixed(0), (beside / without).toFixed(2)],
    ]
    const what = "hanging tenant: the others' work against without it"
    return {
      method: [method],
      tables: [{ header: ['', 'ms', '×'], rows }],
      figures: [atMost(what, beside / without, goal, '×', 2)],
      missing: [],
    }
  })
}

/** Milliseconds until the healthy tenants have all of theirs. */
async function measure({ receiver, pipecore, secrets }: Arena): Promise<number> {
  await receiver.follow({ secrets, verifyEvery: 50 })
  await pipecore.fill(healthy, tenants)
  await pipecore.open()
  const beganAt = clockMs()
  const { lastAt } = await receiver.expect(healthy, 'PipeCore')
  return lastAt - beganAt
}

/** The product that hangs is a new one each time: what was learned of an endpoint is not known beforehand. */
async function withHanging(arena: Arena, id: string): Promise<number> {
  const { pipecore, receiver } = arena
  const { key } = await pipecore.addProduct({ id, tenants: [id], url: receiver.hangingUrl })
  await pipecore.shut()
  const publisher = createPublisher(pipecore.origin, key)
  const events = sampleEvents(hanging, 1).map((event) => ({ ...event, tenant_id: id }))
  await forEachAtOnce(events, publishersAtOnce, publisher.publish)
  await publisher.close()
  const took = await measure(arena)
  const { hung } = await receiver.progress()
  if (hung === 0) throw new Error('The endpoint that hangs was never called.')
  await pipecore.sql.query('update pipecore.endpoints set active = false where product_id = $1', [id])
  await pipecore.sql.query(`delete from pipecore.work where kind = 'delivery'`)
  await receiver.follow({})
  return took
}
