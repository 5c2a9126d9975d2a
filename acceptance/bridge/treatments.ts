import type { ServerResponse } from 'node:http'
import type { Arrival } from './receiver.ts'

const taking = ['take', 'cut_after', 'short', 'drip'] as const
const refusing = ['fail', 'busy', 'redirect', 'cut', 'hang'] as const

/**
 * How a receiver meets a request. It acts on those it takes, and then tells the sender (`take`), breaks off in the
 * middle of the 200 (`cut_after`), announces more than it sends (`short`), or never gets to the end (`drip`).
 */
export type Treatment = (typeof taking)[number] | (typeof refusing)[number]

export function takes(treatment: Treatment): boolean {
  return taking.some((one) => one === treatment)
}

const dripMs = 200
/** Long after every sender has given up. */
const longestMs = 60_000

/** Where a redirect leads: nothing must ever come there. */
const trapPath = '/trap'

export function giveAnswer(response: ServerResponse, arrival: Arrival, answerMs: number): void {
  // A sender that is gone is no error of the receiver.
  response.on('error', () => undefined)
  response.once('finish', () => {
    if (arrival.treatment === 'take') arrival.answeredAt = Date.now()
  })
  if (answerMs === 0) answers[arrival.treatment](response)
  else setTimeout(() => answers[arrival.treatment](response), answerMs)
}

const answers: Record<Treatment, (response: ServerResponse) => void> = {
  take: (response) => response.writeHead(204).end(),
  fail: (response) => response.writeHead(500).end('failed on purpose'),
  busy: (response) => response.writeHead(429, { 'retry-after': '1' }).end(),
  redirect: (response) => response.writeHead(302, { location: trapPath }).end(),
  cut: (response) => void response.socket?.resetAndDestroy(),
  hang: (response) => endLater(response),
  cut_after: (response) => {
    response.writeHead(200, { 'content-length': '8' })
    response.write('tak', () => response.socket?.resetAndDestroy())
  },
  short: (response) => {
    response.writeHead(200, { 'content-length': '8' })
    response.write('tak', () => response.socket?.end())
  },
  drip: (response) => {
    response.writeHead(200, { 'content-length': '1000' })
    const timer = setInterval(() => response.write('.'), dripMs)
    response.once('close', () => clearInterval(timer))
    endLater(response)
  },
}

function endLater(response: ServerResponse): void {
  const timer = setTimeout(() => response.socket?.destroy(), longestMs).unref()
  response.once('close', () => clearTimeout(timer))
}
