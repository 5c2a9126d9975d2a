import { parseArgs } from 'node:util'

export interface Options {
  rounds: number
  /** How long one side is measured in one round, about. */
  seconds: number
  /** Calls a second, where they come at a fixed pace. */
  rate: number
  /** Also what takes long: 10 million finished events. */
  full: boolean
}

/** What stands on the command line: names of parts and options. */
export function readOptions(): { names: string[]; options: Options } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '4' },
      rate: { type: 'string', default: '200' },
      full: { type: 'boolean', default: false },
    },
  })
  const options = {
    rounds: readNumber('--rounds', values.rounds),
    seconds: readNumber('--seconds', values.seconds),
    rate: readNumber('--rate', values.rate),
    full: values.full,
  }
  return { names: positionals, options }
}

function readNumber(name: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`${name} must be a whole number above 0, not "${text}".`)
}
