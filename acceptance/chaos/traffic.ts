import { eventually } from '../harness.ts'
import { type Kill, killUntil } from '../kill/killing.ts'
import { createRandom } from '../kill/random.ts'
import { pause } from './calls.ts'
import type { Installation } from './installation.ts'
import { playJourney, type Played } from './journeys.ts'
import { countOperations, type Journey, type ProviderId } from './plan.ts'
import { createWeather, type Weather } from './weather.ts'

export interface TrafficOptions {
  seed: number
  providers: readonly ProviderId[]
  kills: number
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

const progressDeadlineMs = 120_000

/** Plays all journeys while faults come and go and the server is killed. Resolves when the last has ended. */
export async function playTraffic(
  installation: Installation,
  journeys: readonly Journey[],
  options: TrafficOptions,
): Promise<Traffic> {
  const { seed, providers, kills, weatherMs } = options
  const weather = createWeather(installation.sandbox, createRandom(seed + 1), providers)
  const progress: Progress = { operations: 0, isOver: false }
  await weather.change()
  const playing = playAll(installation, journeys, options, progress)
  const end = () => {
    progress.isOver = true
  }
  playing.then(end, end)
  const planned = journeys.reduce((sum, journey) => sum + countOperations(journey), 0)
  const killing = killUntil({
    victims: [installation.api],
    random: createRandom(seed + 2),
    isOver: (count) => count >= kills || progress.isOver,
    waitForProgress: () => waitForProgress(progress, planned / (kills + 1)),
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
  { providers, workers, patienceMs, longestMs }: TrafficOptions,
  progress: Progress,
): Promise<Played[]> {
  const startedAt = performance.now()
  const all: Played[] = []
  const work = async (waiting: Array<[number, Journey]>) => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (performance.now() - startedAt > longestMs) return
      const [number, journey] = next
      const played = await playJourney(installation, journey, number, patienceMs)
      progress.operations += played.operations
      all.push(played)
    }
  }
  await Promise.all(
    providers.flatMap((provider) => {
      const waiting = [...journeys.filter((journey) => journey.provider === provider).entries()]
      return Array.from({ length: workers }, () => work(waiting))
    }),
  )
  return all
}
