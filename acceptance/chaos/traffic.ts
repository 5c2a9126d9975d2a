import { eventually } from '../harness.ts'
import { type Kill, killUntil } from '../kill/killing.ts'
import { createRandom } from '../kill/random.ts'
import { pause } from './calls.ts'
import type { Installation } from './installation.ts'
import { playJourney, type Played } from './journeys.ts'
import type { Journey, ProviderId } from './plan.ts'
import { createWeather, type Weather } from './weather.ts'

export interface TrafficOptions {
  seed: number
  providers: readonly ProviderId[]
  kills: number
  /** Of each provider: enough of the journeys are played. */
  operations: number
  /** Nothing is begun after this. */
  longestMs: number
  /** Sales at a time, of each provider. */
  workers: number
  /** How long a journey waits for news of its payment. */
  patienceMs: number
  weatherMs: number
}

export interface Traffic {
  played: Played[]
  kills: Kill[]
  faults: Weather['played']
}

interface Progress {
  operations: number
  isOver: boolean
}

const progressDeadlineMs = 600_000

/** Plays all journeys while faults come and go and the server is killed. Resolves when the last has ended. */
export async function playTraffic(
  installation: Installation,
  journeys: readonly Journey[],
  options: TrafficOptions,
): Promise<Traffic> {
  const { seed, providers, operations, kills, weatherMs } = options
  const weather = createWeather(installation.sandbox, createRandom(seed + 1), providers)
  const progress: Progress = { operations: 0, isOver: false }
  await weather.change()
  const playing = playAll(installation, journeys, options, progress)
  const end = () => {
    progress.isOver = true
  }
  playing.then(end, end)
  const killing = killUntil({
    victims: [installation.api],
    random: createRandom(seed + 2),
    isOver: (count) => count >= kills || progress.isOver,
    waitForProgress: () => waitForProgress(progress, (operations * providers.length) / (kills + 1)),
  })
  const changing = changeWeather(weather, weatherMs, progress)
  const [played, killed] = await Promise.all([playing, killing, changing])
  await weather.clear()
  return { played, kills: killed, faults: weather.played }
}

async function changeWeather(weather: Weather, everyMs: number, progress: Progress): Promise<void> {
  while (!progress.isOver) {
    const until = performance.now() + everyMs
    while (performance.now() < until && !progress.isOver) await pause(100)
    if (!progress.isOver) await weather.change()
  }
}

async function waitForProgress(progress: Progress, step: number): Promise<void> {
  const wanted = progress.operations + step
  await eventually(() => progress.operations >= wanted || progress.isOver, progressDeadlineMs)
}

async function playAll(
  installation: Installation,
  journeys: readonly Journey[],
  options: TrafficOptions,
  progress: Progress,
): Promise<Played[]> {
  const { providers } = options
  const all = await Promise.all(
    providers.map((provider) => {
      const own = journeys.filter((journey) => journey.provider === provider)
      return playProvider(installation, own, options, progress)
    }),
  )
  return all.flat()
}

async function playProvider(
  installation: Installation,
  journeys: readonly Journey[],
  { operations, workers, patienceMs, longestMs }: TrafficOptions,
  progress: Progress,
): Promise<Played[]> {
  const startedAt = performance.now()
  const waiting = [...journeys.entries()]
  const all: Played[] = []
  let made = 0
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (made >= operations || performance.now() - startedAt > longestMs) return
      const [number, journey] = next
      const played = await playJourney(installation, journey, number, patienceMs)
      made += played.operations
      progress.operations += played.operations
      all.push(played)
    }
  }
  await Promise.all(Array.from({ length: workers }, work))
  return all
}
