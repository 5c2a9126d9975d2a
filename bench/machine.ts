import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

export function describeMachine(): string {
  const memory = `${(totalmem() / 2 ** 30).toFixed(0)} GiB`
  const processor = `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores`
  const [load = 0] = loadavg()
  return `${processor}, ${memory}, ${type()} ${release()}, Node ${process.version}; load before the first round ${load.toFixed(1)}`
}
