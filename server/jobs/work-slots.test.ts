import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import type { Claim } from './work.ts'
import { addClaims, dropStuck, findDemand } from './work-demand.ts'
import { createSlots, dropWaiting, freeSlot, isRunningDry, type Slots, takeSlot } from './work-slots.ts'

/** Milliseconds of the monotonic clock. */
let now = 0
performance.now = () => now
beforeEach(() => {
  now = 10_000
})

function claimsOf(lane: string, count: number, given: Partial<Claim['item']> = {}): Claim[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `${lane}${index}`
    const item = {
      id,
      kind: 'job' as const,
      lane,
      tenantId: null,
      productId: null,
      ref: id,
      runAt: new Date(0),
      attempt: 1,
      series: null,
      number: null,
      ordered: false,
      ...given,
    }
    return { item, limits: undefined, token: '', claimedAt: now }
  })
}

function takeAll(slots: Slots): string[] {
  const taken: string[] = []
  for (let claim = takeSlot(slots); claim; claim = takeSlot(slots)) taken.push(claim.item.id)
  return taken
}

interface Table {
  /** Names of lanes, `series/…` where they have a series; they never run dry. */
  lanes: readonly string[]
  /** What is claimed has been tried before. */
  again?: boolean
}

/** Claims like the database would. */
function fill(slots: Slots, { lanes, again = false }: Table): Claim[] {
  const demand = findDemand(slots)
  if (!demand) return []
  const claims: Claim[] = []
  const ofSeries = new Map<string, number>()
  for (const lane of lanes) {
    const [series = lane] = lane.split('/')
    const taken = ofSeries.get(series) ?? 0
    const rooms = [demand.rooms.get(lane) ?? demand.perLane, (demand.rooms.get(series) ?? Infinity) - taken]
    const room = Math.min(
      demand.total - claims.length,
      again ? demand.retries - claims.length : Infinity,
      ...rooms,
    )
    ofSeries.set(series, taken + Math.max(0, room))
    const given = { series: lane.includes('/') ? series : null, attempt: again ? 2 : 1 }
    claims.push(...claimsOf(lane, Math.max(0, room), given))
  }
  addClaims(slots, demand, claims)
  return takeClaims(slots)
}

const started = new WeakMap<Slots, Set<Claim>>()

function runningIn(slots: Slots): Set<Claim> {
  const running = started.get(slots) ?? new Set()
  started.set(slots, running)
  return running
}

function takeClaims(slots: Slots): Claim[] {
  const taken: Claim[] = []
  for (let claim = takeSlot(slots); claim; claim = takeSlot(slots)) taken.push(claim)
  for (const claim of taken) runningIn(slots).add(claim)
  return taken
}

function endRun(slots: Slots, claim: Claim, hasRun = true): boolean {
  runningIn(slots).delete(claim)
  return freeSlot(slots, claim, hasRun)
}

const countOf = (claims: Iterable<Claim>, name: string) =>
  [...claims].filter(({ item }) => (item.series ?? item.lane) === name).length

function refill(slots: Slots, table: Table): Claim[] {
  const taken = takeClaims(slots)
  for (let more = fill(slots, table); more.length > 0; more = fill(slots, table)) taken.push(...more)
  return taken
}

/** Runs what is claimed for a second, each for so long; what hangs goes on. @returns what runs at the end. */
function work(slots: Slots, table: Table, hangs: (claim: Claim) => boolean = () => false): Set<Claim> {
  const running = new Set([...runningIn(slots), ...refill(slots, table)])
  for (let step = 0; step < 100; step += 1) {
    now += 10
    for (const claim of running) {
      if (hangs(claim)) continue
      running.delete(claim)
      endRun(slots, claim)
      for (const next of takeClaims(slots)) running.add(next)
    }
    for (const claim of refill(slots, table)) running.add(claim)
  }
  return running
}

describe('slots', () => {
  test('go to lanes in turns', () => {
    const slots = createSlots(6, 6)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, [...claimsOf('a', 3), ...claimsOf('b', 3)])
    assert.deepEqual(takeAll(slots), ['a0', 'b0', 'a1', 'b1'])
  })

  test('are never all held by lanes that hang', () => {
    const slots = createSlots(64, 32)
    for (const lane of ['a', 'b', 'c', 'd', 'e']) fill(slots, { lanes: [lane] })
    assert.equal(slots.lanes.get('a')?.running, 32)
    assert.equal(slots.lanes.get('b')?.running, 16)
    assert.ok(slots.running < 64)
    fill(slots, { lanes: ['healthy'] })
    assert.ok((slots.lanes.get('healthy')?.running ?? 0) >= 1)
  })

  test('keep a lane within its cap', () => {
    const slots = createSlots(64, 4)
    fill(slots, { lanes: ['a'] })
    assert.equal(slots.lanes.get('a')?.running, 4)
    assert.equal(findDemand(slots)?.rooms.get('a'), 0)
  })

  test('ask for nothing while all are taken', () => {
    const slots = createSlots(2, 2)
    for (const lane of ['a', 'b']) fill(slots, { lanes: [lane] })
    assert.equal(slots.running, 2)
    assert.equal(findDemand(slots), undefined)
  })

  test('call for a claim when a lane that may have more has used up what it had', () => {
    const slots = createSlots(8, 4)
    fill(slots, { lanes: ['a'] })
    findDemand(slots)
    dropWaiting(slots, () => true)
    assert.equal(endRun(slots, claimsOf('a', 1)[0] as Claim), true)
  })

  test('call for no claim when the table had no more', () => {
    const slots = createSlots(8, 4)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, claimsOf('a', 1))
    takeAll(slots)
    assert.equal(endRun(slots, claimsOf('a', 1)[0] as Claim), false)
    assert.equal(slots.lanes.size, 0)
  })

  test('give back what waits', () => {
    const slots = createSlots(4, 2)
    const demand = findDemand(slots)
    assert.ok(demand)
    addClaims(slots, demand, claimsOf('a', 3))
    takeAll(slots)
    assert.deepEqual(
      dropWaiting(slots, () => true).map((claim) => claim.item.id),
      ['a2'],
    )
    assert.deepEqual(takeAll(slots), [])
  })
})

describe('slots of lanes whose runs are brief', () => {
  const brief = { lanes: ['brief'] }

  test('are nearly all there are when nobody else has something to run', () => {
    const slots = createSlots(64, 32)
    assert.equal(work(slots, brief).size, 62)
    const shared = createSlots(64, 32)
    assert.equal(work(shared, { lanes: ['end/a', 'end/b', 'end/c'] }).size, 62)
  })

  test('are all of them when several have something to run', () => {
    const slots = createSlots(64, 32)
    assert.equal(work(slots, { lanes: ['one', 'two', 'three', 'four'] }).size, 64)
  })

  test('are no more than the share of any other as long as it is not known how long its runs take', () => {
    const slots = createSlots(64, 32)
    assert.equal(fill(slots, brief).length, 32)
  })

  test('are left to another as it comes, without anything having to be long over', () => {
    const slots = createSlots(64, 32)
    const running = [...work(slots, { lanes: ['one', 'two', 'three', 'four'] })]
    const demand = {
      total: 10,
      perLane: 10,
      rooms: new Map(),
      behind: new Map(),
      retries: 0,
      retriesBehind: '',
    }
    addClaims(slots, demand, claimsOf('late', 10))
    for (const claim of running.slice(0, 16)) {
      endRun(slots, claim)
      takeClaims(slots)
    }
    const late = slots.lanes.get('late')?.running ?? 0
    assert.ok(late >= 6, `${late} after the end of 16`)
  })

  test('and what waits for them leave room to claim what comes', () => {
    const slots = createSlots(64, 32)
    work(slots, brief)
    assert.ok((findDemand(slots)?.total ?? 0) >= 32)
    assert.ok(slots.waiting >= 64, `${slots.waiting} wait`)
  })

  test('are at most half, of a series three quarters, when they hang all at once beside others', () => {
    const lanes = ['other', 'end/a', 'end/b', 'end/c']
    const slots = createSlots(64, 32)
    work(slots, { lanes })
    const running = work(slots, { lanes }, ({ item }) => item.series === 'end')
    assert.ok(countOf(running, 'end') <= 48, `${countOf(running, 'end')} of 64`)
    for (const lane of lanes) assert.ok((slots.lanes.get(lane)?.running ?? 0) <= 32)
    assert.ok(countOf(running, 'other') >= 16, `${countOf(running, 'other')} left`)
  })

  test('are no longer more than those of others once its runs have hung', () => {
    const slots = createSlots(64, 32)
    work(slots, brief)
    const hung = work(slots, brief, () => true)
    assert.equal(hung.size, 62)
    now += 10_000
    for (const claim of hung) endRun(slots, claim)
    dropWaiting(slots, () => true)
    assert.equal(work(slots, brief, () => true).size, 32)
  })

  test('are not given for claims that went back without a run', () => {
    const slots = createSlots(64, 32)
    for (const claim of fill(slots, brief)) endRun(slots, claim, false)
    dropWaiting(slots, () => true)
    assert.equal(fill(slots, brief).length, 32)
  })

  test('are there, however many others hang', () => {
    const slots = createSlots(64, 32)
    work(slots, brief)
    const hanging = Array.from({ length: 100 }, (_, index) => `hang-${index}`)
    const all = { lanes: [...brief.lanes, ...hanging] }
    const running = work(slots, all, ({ item }) => item.lane !== 'brief')
    assert.ok(running.size - countOf(running, 'brief') < 64)
    for (const claim of running) if (claim.item.lane === 'brief') endRun(slots, claim)
    let ran = 0
    for (let round = 0; round < 100; round += 1) {
      now += 100
      dropStuck(slots)
      for (const claim of refill(slots, all)) {
        if (claim.item.lane !== 'brief') continue
        endRun(slots, claim)
        ran += 1
      }
    }
    assert.ok(ran >= 25, `${ran} ran in ten seconds`)
  })
})

describe('a series', () => {
  test('that hangs holds no more than half of the slots, however many lanes it has', () => {
    const slots = createSlots(64, 32)
    const lanes = Array.from({ length: 50 }, (_, index) => `end/tenant-${index}`)
    assert.equal(work(slots, { lanes }, () => true).size, 32)
    assert.ok(work(slots, { lanes: ['other'] }).size > 40)
  })

  test('with little room gives it to its lanes in turns', () => {
    const slots = createSlots(64, 32)
    const claims = claimsOf('end/b', 3, { series: 'end' })
    const demand = {
      total: 20,
      perLane: 3,
      rooms: new Map([['end', 3]]),
      behind: new Map(),
      retries: 9,
      retriesBehind: '',
    }
    assert.equal(addClaims(slots, demand, claims), false)
    assert.deepEqual(findDemand(slots)?.behind, new Map([['end', 'end/b']]))
    const behind = new Map([['end', 'end/b']])
    assert.equal(addClaims(slots, { ...demand, behind }, []), true, 'the lanes before it were passed over')
    assert.deepEqual(findDemand(slots)?.behind, new Map())
  })
})

describe('what waits in memory', () => {
  const most = 64 + 128

  test('has a bound, whatever is tried again and hangs', () => {
    const slots = createSlots(64, 32)
    const lanes = Array.from({ length: 300 }, (_, index) => `end-${index}/tenant/retry`)
    assert.equal(work(slots, { lanes, again: true }, () => true).size, 32)
    assert.ok(slots.waiting <= 8, `${slots.waiting} wait`)
    assert.ok(work(slots, { lanes: ['first'] }).size > 16)
  })

  test('has a bound, however many lanes come one after another', () => {
    const slots = createSlots(64, 32)
    for (let lane = 0; lane < 1000; lane += 1) {
      fill(slots, { lanes: [`lane-${lane}`] })
      assert.ok(slots.running + slots.waiting <= most, `${slots.running} run, ${slots.waiting} wait`)
    }
  })

  test('may be four times as much while runs are brief', () => {
    const slots = createSlots(64, 32)
    work(slots, { lanes: ['brief'] })
    const before = slots.waiting
    assert.ok(before > 256 && before <= 512, `${before} wait`)
    for (let lane = 0; lane < 1000; lane += 1) fill(slots, { lanes: [`lane-${lane}`] })
    assert.ok(slots.waiting <= 512 + 64, `${slots.waiting} wait`)
  })

  test('runs dry when little is left in all, or of a series beside one that hangs', () => {
    const slots = createSlots(64, 32)
    work(slots, { lanes: ['brief'] })
    const [some] = runningIn(slots)
    assert.ok(some)
    assert.equal(isRunningDry(slots, some), false)
    const hanging = claimsOf('hang', 200)
    addClaims(
      slots,
      { total: 200, perLane: 200, rooms: new Map(), behind: new Map(), retries: 0, retriesBehind: '' },
      hanging,
    )
    const kept = new Set(slots.lanes.get('brief')?.waiting.slice(0, 4))
    dropWaiting(slots, (claim) => claim.item.lane === 'brief' && !kept.has(claim))
    assert.ok(slots.waiting > 128)
    assert.equal(isRunningDry(slots, some), true)
    assert.equal(isRunningDry(slots, hanging[0] ?? some), false)
    dropWaiting(slots, () => true)
    assert.equal(isRunningDry(slots, hanging[0] ?? some), true)
  })

  test('is given back when it keeps others from waiting and can not start', () => {
    const slots = createSlots(64, 32)
    for (let lane = 0; lane < 20; lane += 1) fill(slots, { lanes: [`hang-${lane}`] })
    assert.equal(findDemand(slots), undefined)
    assert.deepEqual(dropStuck(slots), [], 'not at once')
    now += 2_000
    assert.ok(dropStuck(slots).length > 0)
    const demand = findDemand(slots)
    assert.ok(demand)
    const most = Math.max(...demand.rooms.values())
    assert.ok(most <= slots.count - slots.running, `${most} would be claimed again`)
  })
})
