import { setFlagsFromString } from 'node:v8'

/**
 * Where many objects of one place in the code outlived a collection, V8 puts the next ones among the old at once. What
 * outlives one here are requests in flight, and soon over: see decision 45.
 */
export function keepYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}
